"""A SCSI tape library in plain Python, served over iSCSI on this machine: media in memory, faults on demand.

- `cartridge`: what is on a tape: blocks and filemarks
- `sense`: how a command fails
- `unit`: what drives and changer have in common: unit attentions, faults, inquiries
- `drive`, `pages`: a sequential-access device (SSC-3), and the pages that it tells about itself
- `changer`: a medium changer (SMC-3)
- `library`: all units, and what an operator or a defect does to them
- `iscsi`: one session of an initiator
- `python -m tapeguest.target`: the server; requests of `tapeguest.control` reach it as files
"""
