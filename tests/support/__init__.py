"""What tests are made of: virtual time, gates and recorders, storages under hold, child processes."""
