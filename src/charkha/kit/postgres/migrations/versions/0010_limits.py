"""Limits, their leases and prices; what a request cost in the log; usage by day, summed as the log is written."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import foreign_key, stamp, workspace_table

revision = "0010"
down_revision = "0005"

_APP = "select, insert, update, delete"

# A statement trigger sees the rows that were inserted, and none that were there already: so the sums are as exact as
# the log, whatever is shipped again. It runs as its owner, for the ingest role may only insert.
_COUNT = """
CREATE FUNCTION charkha_count_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO usage_days AS u (workspace_id, day, actor, model, engine, currency, requests, prompt_tokens,
                               completion_tokens, cost)
  SELECT workspace_id, (started_at AT TIME ZONE 'UTC')::date, actor, model, engine, coalesce(currency, ''),
         count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), coalesce(sum(cost), 0)
  FROM fresh GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (workspace_id, day, actor, model, engine, currency) DO UPDATE SET
    requests = u.requests + excluded.requests, prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = u.completion_tokens + excluded.completion_tokens, cost = u.cost + excluded.cost;
  UPDATE limit_leases SET replayed = replayed + spent.units
  FROM (SELECT charges ->> 'holder' AS holder, (each ->> 0)::uuid AS limit_id, (each ->> 1)::bigint AS start,
               sum((each ->> 2)::bigint) AS units
        FROM fresh, jsonb_array_elements(charges -> 'of') AS each WHERE charges IS NOT NULL GROUP BY 1, 2, 3) spent
  WHERE limit_leases.holder = spent.holder AND limit_leases.limit_id = spent.limit_id
    AND limit_leases.start = spent.start;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION charkha_count_usage() FROM PUBLIC;
CREATE TRIGGER count_usage AFTER INSERT ON inferences REFERENCING NEW TABLE AS fresh
FOR EACH STATEMENT EXECUTE FUNCTION charkha_count_usage();
"""

# The shipper calls it in the transaction of a dead gateway's last rows. Permits of requests in flight ended with it.
_BURY = """
CREATE FUNCTION charkha_bury_holder(dead text) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE lease record; buried integer := 0;
BEGIN
  FOR lease IN SELECT * FROM limit_leases WHERE holder = dead ORDER BY limit_id, start LOOP
    UPDATE limit_windows SET leased = leased - greatest(0, lease.granted - lease.replayed)
    WHERE workspace_id = lease.workspace_id AND limit_id = lease.limit_id AND start = lease.start;
    DELETE FROM limit_leases WHERE workspace_id = lease.workspace_id AND limit_id = lease.limit_id
      AND start = lease.start AND holder = dead;
    buried := buried + 1;
  END LOOP;
  RETURN buried;
END $$;
REVOKE ALL ON FUNCTION charkha_bury_holder(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION charkha_bury_holder(text) TO charkha_ingest;
"""


def upgrade() -> None:
    _limits()
    _prices()
    op.add_column("inferences", sa.Column("cost", sa.BigInteger))
    op.add_column("inferences", sa.Column("currency", sa.Text))
    op.add_column("inferences", sa.Column("charges", JSONB))
    _usage()
    op.execute(_COUNT)
    op.execute(_BURY)


def _limits() -> None:
    workspace_table(
        "limits",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Uuid, nullable=False),
        sa.Column("measure", sa.Text, nullable=False),
        sa.Column("window", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False, server_default=""),
        stamp("created_at"),
        unique=[("subject_id", "measure", "window", "currency")],
        app=_APP,
    )
    of = {"workspace_id": "limits.workspace_id", "limit_id": "limits.id"}
    for name, key, columns in (
        ("limit_windows", ("limit_id", "start"), ("leased",)),
        ("limit_leases", ("limit_id", "start", "holder"), ("granted", "replayed")),
    ):
        workspace_table(
            name,
            sa.Column("limit_id", sa.Uuid, nullable=False),
            sa.Column("start", sa.BigInteger, nullable=False),
            *([sa.Column("holder", sa.Text, nullable=False)] if "holder" in key else []),
            *(sa.Column(each, sa.BigInteger, nullable=False, server_default=_zero(each)) for each in columns),
            key=key,
            app=_APP,
        )
        constraint = foreign_key(name, of)
        op.create_foreign_key(str(constraint.name), name, "limits", [*of], ["workspace_id", "id"], ondelete="CASCADE")
    op.create_index("ix_limit_leases_holder", "limit_leases", ["holder"])


def _zero(column: str) -> str | None:
    return "0" if column == "replayed" else None


def _prices() -> None:
    workspace_table(
        "prices",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Uuid, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("prompt", sa.BigInteger, nullable=False),
        sa.Column("completion", sa.BigInteger, nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True)),
        stamp("created_at"),
        app="select, insert",
    )


def _usage() -> None:
    """What each key used on each day; what was logged before is counted as well."""
    workspace_table(
        "usage_days",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        key=("day", "actor", "model", "engine", "currency"),
        app="select",
    )
    op.execute(
        "INSERT INTO usage_days SELECT workspace_id, (started_at AT TIME ZONE 'UTC')::date, actor, model, engine, '',"
        " count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), 0 FROM inferences"
        " GROUP BY 1, 2, 3, 4, 5"
    )
