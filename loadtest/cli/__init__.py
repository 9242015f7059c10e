"""The commands that measure, a file each: `penstock load`, `penstock demo` and `penstock bench`."""
