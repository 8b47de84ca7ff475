"""Endpoints that give answers again; the log and usage tell what came of that, and what it saved."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"

# As in 0010, and besides: how many answers were given again, for how many it was tried in vain, and what it saved.
_COUNT = """
CREATE OR REPLACE FUNCTION charkha_count_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO usage_days AS u (workspace_id, day, actor, model, engine, currency, requests, prompt_tokens,
                               completion_tokens, cost, cached, missed, saved)
  SELECT workspace_id, (started_at AT TIME ZONE 'UTC')::date, actor, model, engine, coalesce(currency, ''),
         count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), coalesce(sum(cost), 0),
         count(*) FILTER (WHERE cache IN ('hit', 'semantic')), count(*) FILTER (WHERE cache = 'miss'),
         coalesce(sum(saved), 0)
  FROM fresh GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (workspace_id, day, actor, model, engine, currency) DO UPDATE SET
    requests = u.requests + excluded.requests, prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = u.completion_tokens + excluded.completion_tokens, cost = u.cost + excluded.cost,
    cached = u.cached + excluded.cached, missed = u.missed + excluded.missed, saved = u.saved + excluded.saved;
  UPDATE limit_leases SET replayed = replayed + spent.units
  FROM (SELECT charges ->> 'holder' AS holder, (each ->> 0)::uuid AS limit_id, (each ->> 1)::bigint AS start,
               sum((each ->> 2)::bigint) AS units
        FROM fresh, jsonb_array_elements(charges -> 'of') AS each WHERE charges IS NOT NULL GROUP BY 1, 2, 3) spent
  WHERE limit_leases.holder = spent.holder AND limit_leases.limit_id = spent.limit_id
    AND limit_leases.start = spent.start;
  RETURN NULL;
END $$;
"""


def upgrade() -> None:
    op.add_column("endpoints", sa.Column("cache", JSONB))
    op.add_column("endpoints", sa.Column("cache_epoch", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("inferences", sa.Column("cache", sa.Text))
    op.add_column("inferences", sa.Column("saved", sa.BigInteger))
    for name in ("cached", "missed", "saved"):
        op.add_column("usage_days", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.execute(_COUNT)
