"""tapeloom: tape backup and copying at full drive speed."""

__version__ = "0.1.0"
