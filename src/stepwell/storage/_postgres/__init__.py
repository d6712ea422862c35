"""The parts of the Postgres storage: connections, listening, and the SQL of each verb."""
