"""PostgreSQL as Charkha uses it: the embedded server, the four roles, migrations, the start-up self-test."""
