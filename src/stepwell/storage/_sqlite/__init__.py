"""The parts of the SQLite storage: the file, the writer thread, the readers, and the SQL of each verb."""
