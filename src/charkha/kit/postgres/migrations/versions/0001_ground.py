"""The ground: the job queue, the snapshot's version, and the functions by which roles do what they may not do by hand."""

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None

_GRANTS = """
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO charkha_app, charkha_ingest, charkha_system;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO charkha_app, charkha_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO charkha_system;
GRANT SELECT, INSERT ON procrastinate_jobs, procrastinate_events TO charkha_app;
"""

_BUMP = """
CREATE FUNCTION charkha_bump_snapshot() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE latest bigint;
BEGIN
  UPDATE snapshot_version SET version = version + 1 RETURNING version INTO latest;
  PERFORM pg_notify('charkha_snapshot', latest::text);
  RETURN latest;
END $$;
REVOKE ALL ON FUNCTION charkha_bump_snapshot() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION charkha_bump_snapshot() TO charkha_app, charkha_system;
"""

# Row-level security is forced, so the owner needs a policy too: without one a back-fill changes 0 rows silently. A
# setting that was set once is '' and not NULL on a pooled connection. Ingest may insert for every workspace.
_PROTECT = """
CREATE FUNCTION charkha_protect(target text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE own text := 'workspace_id = nullif(current_setting(''app.ws'', true), '''')::uuid';
BEGIN
  EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', target);
  EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', target);
  EXECUTE format('CREATE POLICY own_workspace ON %I TO charkha_app USING (%s) WITH CHECK (%s)', target, own, own);
  EXECUTE format('CREATE POLICY owner_all ON %I TO charkha_owner USING (true) WITH CHECK (true)', target);
  EXECUTE format('CREATE POLICY system_all ON %I TO charkha_system USING (true) WITH CHECK (true)', target);
  EXECUTE format('CREATE POLICY ingest_insert ON %I FOR INSERT TO charkha_ingest WITH CHECK (true)', target);
END $$;
REVOKE ALL ON FUNCTION charkha_protect(text) FROM PUBLIC;
"""

# A UUIDv7 begins with its milliseconds, so a month of ids is a range of ids.
_PARTITIONS = """
CREATE FUNCTION charkha_uuid_at(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT rpad(lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;
CREATE FUNCTION charkha_ensure_partitions(parent text, months integer) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE first timestamptz; name text; made integer := 0;
BEGIN
  IF parent NOT IN ('inferences', 'inference_bodies') THEN RAISE EXCEPTION 'not a partitioned log: %', parent; END IF;
  FOR step IN -1..months LOOP
    first := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + make_interval(months => step);
    name := parent || '_p_' || to_char(first AT TIME ZONE 'UTC', 'YYYYMM');
    IF to_regclass(name) IS NULL THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, parent,
                     charkha_uuid_at(first), charkha_uuid_at(first + interval '1 month'));
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END $$;
REVOKE ALL ON FUNCTION charkha_ensure_partitions(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION charkha_ensure_partitions(text, integer) TO charkha_system;
"""


def upgrade() -> None:
    op.execute(sa.text(SchemaManager.get_schema()))
    op.execute(_GRANTS)
    op.execute(_BUMP)
    op.execute(_PROTECT)
    op.execute(_PARTITIONS)
