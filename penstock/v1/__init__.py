"""Generated from protos/penstock/v1 by `make protos`; do not edit."""
