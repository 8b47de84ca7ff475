"""An installation as it is after a year: a million inferences and ten thousand versions in one workspace.

Written straight into the tables, as their owner: what a person or a process would have made one by one.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from charkha.evaluate.cards import card

INFERENCES, VERSIONS, FEEDBACK, RUNS, AUDIT = 1_000_000, 10_000, 100_000, 2_000, 100_000

# A UUIDv7 for a moment and a number: the milliseconds, then bits that the number decides.
_FUNCTION = """
CREATE FUNCTION pg_temp.id_at(moment timestamptz, kind text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8'
          || substr(hash, 4, 15))::uuid FROM (SELECT md5(kind || number::text) AS hash) AS hashed
$$
"""
_MOMENT = "(now() - interval '30 days' * (1 - i::float8 / {count}))"
_BODY = json.dumps(
    {"model": "bench", "messages": [{"role": "user", "content": "How many roads must a man walk? " * 6}]}
)

_INFERENCES = """
INSERT INTO inferences (workspace_id, id, started_at, operation, model, purpose, actor, endpoint_id, plan_id, variant_id,
  version_id, engine, adapters, stream, episode_id, status, error_code, finish_reason, prompt_tokens, completion_tokens,
  first_token_ms, duration_ms)
SELECT %(ws)s, pg_temp.id_at({moment}, 'inference', i), {moment}, 'chat', 'bench', 'live', 'key:bench',
  %(endpoint)s, %(plan)s, %(variant)s, NULL, 'bench', '[]', i %% 3 = 0, 'episode-' || i / 5,
  CASE WHEN i %% 997 = 0 THEN 502 ELSE 200 END, CASE WHEN i %% 997 = 0 THEN 'engine_error' END, 'stop',
  40 + i %% 300, 10 + i %% 90, 20 + i %% 200, 100 + (i::bigint * 7919) %% 3000
FROM generate_series(1, %(count)s) AS i
"""
_BODIES = """
INSERT INTO inference_bodies (workspace_id, id, version, request, answer)
SELECT %(ws)s, pg_temp.id_at({moment}, 'inference', i), 1, convert_to(%(body)s, 'UTF8'),
  convert_to('The answer to question ' || i || ' blows in the wind. ' || md5(i::text), 'UTF8')
FROM generate_series(1, %(count)s) AS i
"""
_FEEDBACK = """
INSERT INTO feedback (workspace_id, id, kind, inference_id, value, text, actor, body_hash, created_at)
SELECT %(ws)s, pg_temp.id_at({moment}, 'feedback', i), CASE i %% 3 WHEN 0 THEN 'correction' ELSE 'thumb' END,
  pg_temp.id_at({moment_of_tenth}, 'inference', i * 10), CASE WHEN i %% 3 <> 0 THEN i %% 2 END,
  CASE WHEN i %% 3 = 0 THEN 'Forty-two, of course.' END, 'key:bench', '\\x00', {moment}
FROM generate_series(1, %(count)s) AS i
"""
_VERSIONS = """
INSERT INTO versions (workspace_id, id, name, number, kind, engine, base_model, endpoint_id, run_id, dataset_version_id,
  adapters, artefacts, detail, created_at)
SELECT %(ws)s, pg_temp.id_at({moment}, 'version', i), 'task-' || i %% 100, 1 + i / 100, 'adapter', 'bench', 'tiny',
  %(endpoint)s, CASE WHEN i > %(count)s - 2000 THEN pg_temp.id_at({moment_of_run}, 'run', i - %(count)s + 2000) END,
  %(dataset_version)s, '[]', '{{}}', '{{}}', {moment}
FROM generate_series(1, %(count)s) AS i
"""
_RUNS = """
INSERT INTO runs (workspace_id, id, endpoint_id, recipe, config, dataset_version_id, base_model, seed, status, attempt,
  step, steps, started_at, ended_at, created_at)
SELECT %(ws)s, pg_temp.id_at({moment}, 'run', i), %(endpoint)s, 'sft', '{{"rank": 16, "learning_rate": 0.001}}',
  %(dataset_version)s, 'tiny', i, 'succeeded', 1, 400, 400, {moment}, {moment} + interval '3 minutes', {moment}
FROM generate_series(1, %(count)s) AS i
"""
_POINTS = """
INSERT INTO run_points (workspace_id, run_id, step, loss, learning_rate, tokens_per_second)
SELECT %(ws)s, pg_temp.id_at(now(), 'run', %(count)s), i, 6.0 / (1 + i / 20.0), 0.001, 900 + i %% 50
FROM generate_series(0, 400) AS i ON CONFLICT DO NOTHING
"""
_EVALUATIONS = """
INSERT INTO evaluations (workspace_id, id, suite_id, candidate_version_id, status, done, total, scorecard, created_at)
SELECT %(ws)s, pg_temp.id_at({moment}, 'evaluation', i), %(suite)s,
  pg_temp.id_at({moment_of_version}, 'version', {number_of_version}), 'done', 200, 200, %(card)s, {moment}
FROM generate_series(1, %(count)s) AS i
"""
_ROLLOUTS = """
INSERT INTO rollouts (workspace_id, id, endpoint_id, candidate_version_id, candidate_variant_id, baseline_variant_id,
  baseline_plan_id, plan_id, steps, share, status, rules, started_at, ended_at, created_at)
SELECT %(ws)s, pg_temp.id_at({moment}, 'rollout', i), %(endpoint)s,
  pg_temp.id_at({moment_of_version}, 'version', {number_of_version}), %(variant)s, %(variant)s, %(plan)s, %(plan)s,
  '[1, 10, 50, 100]', 100, 'promoted', '{{"alpha": 0.05, "minimum": 3}}', {moment}, {moment}, {moment}
FROM generate_series(1, %(count)s) AS i
"""
_DECISIONS = """
INSERT INTO rollout_decisions (workspace_id, id, rollout_id, action, share, verdict, reason, evidence, created_at)
SELECT %(ws)s, pg_temp.id_at({moment} + interval '1 ms' * step, 'decision' || step, i),
  pg_temp.id_at({moment}, 'rollout', i), 'advance', step, 'better', 'The candidate is scored higher.', '{{}}', {moment}
FROM generate_series(1, %(count)s) AS i, unnest(ARRAY[1, 10, 50, 100]) AS step
"""
_AUDIT = """
INSERT INTO audit (workspace_id, id, actor, action, target_kind, target_id, detail, created_at)
SELECT %(ws)s, pg_temp.id_at({moment}, 'audit', i), 'key:bench', 'key.created', 'key', i::text, '{{}}', {moment}
FROM generate_series(1, %(count)s) AS i
"""


@dataclass(frozen=True)
class Ground:
    """What was made through the API and the rows refer to."""

    workspace_id: UUID
    endpoint_id: UUID
    plan_id: UUID
    variant_id: UUID
    dataset_version_id: UUID
    suite_id: UUID


def seed(migration_url: str, ground: Ground) -> dict[str, str]:
    """Write everything; returns ids for pages that show one thing."""
    common: dict[str, Any] = {
        "ws": ground.workspace_id,
        "endpoint": ground.endpoint_id,
        "plan": ground.plan_id,
        "variant": ground.variant_id,
        "dataset_version": ground.dataset_version_id,
        "suite": ground.suite_id,
        "body": _BODY,
        "card": _card(),
    }
    with psycopg.connect(migration_url) as owner:  # one transaction: its now() is one moment for all rows
        owner.execute(_FUNCTION)
        for text, count in (
            (_INFERENCES, INFERENCES),
            (_BODIES, INFERENCES),
            (_FEEDBACK, FEEDBACK),
            (_RUNS, RUNS),
            (_POINTS, RUNS),
            (_VERSIONS, VERSIONS),
            (_EVALUATIONS, RUNS),
            (_ROLLOUTS, RUNS),
            (_DECISIONS, RUNS),
            (_AUDIT, AUDIT),
        ):
            owner.execute(_filled(text, count), {**common, "count": count})
        owner.execute("ANALYZE")
        return {table: _newest(owner, table) for table in ("inferences", "runs", "versions", "rollouts", "evaluations")}


def _filled(text: str, count: int) -> str:
    """A statement with its moments: rows are spread over thirty days, and those that refer to one another agree."""
    number = f"(i + {VERSIONS - RUNS})"
    return text.format(
        moment=_MOMENT.format(count=count),
        moment_of_tenth=_MOMENT.format(count=INFERENCES).replace("i::", "(i * 10)::"),
        moment_of_run=_MOMENT.format(count=RUNS).replace("i::", f"(i - {VERSIONS - RUNS})::"),
        moment_of_version=_MOMENT.format(count=VERSIONS).replace("i::", f"{number}::"),
        number_of_version=number,
    )


def _newest(owner: psycopg.Connection[Any], table: str) -> str:
    row = owner.execute(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1").fetchone()
    assert row is not None, f"{table} was filled above"
    return str(row[0])


def _card() -> str:
    """A scorecard as an evaluation makes it, on 200 examples of ten classes."""
    labels = [f"class-{number % 10}" for number in range(200)]
    candidate = [float(number % 7 != 0) for number in range(200)]
    incumbent = [float(number % 3 == 0) for number in range(200)]
    measured = {"label_accuracy": candidate, "exact_match": candidate}
    before = {"label_accuracy": incumbent, "exact_match": incumbent}
    made = card(("label_accuracy", "exact_match"), labels, measured, before)  # type: ignore[arg-type]
    return msgspec.json.encode(made).decode()
