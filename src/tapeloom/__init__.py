"""tapeloom: tape backup and copying at full drive speed."""
