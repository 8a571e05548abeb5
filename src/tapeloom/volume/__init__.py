"""What stands on a volume beside the data: label, reader, tape records, run tables. csrc/FORMAT.md is the law."""
