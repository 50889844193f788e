"""The database beneath: connections, tables, writer, journal, migration."""
