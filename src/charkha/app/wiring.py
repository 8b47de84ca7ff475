"""The composition root: every service is built here, every port bound, and nowhere else."""

from charkha import loop
from charkha.app.answers import GatewayAnswers
from charkha.app.bridges import AbsentAdapters, JudgedTraffic, RankedVersions, ServedVersions, TrainableEndpoints
from charkha.app.engines import Fleet, ModelsOnDisk, Sessions, all_engines
from charkha.app.installation import Installation
from charkha.data.service import DatasetService
from charkha.evaluate.jobs import Evaluator
from charkha.evaluate.service import EvaluationService, SuiteService
from charkha.govern import keyring
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator
from charkha.govern.keys import KeyService
from charkha.govern.limits import store as limit_store
from charkha.govern.limits.leases import Leases
from charkha.govern.limits.meter import Meter
from charkha.govern.limits.service import LimitService
from charkha.govern.prices import service as price_service
from charkha.govern.sessions import SessionService
from charkha.kit.blobs import Blobs
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.kit.snapshot import Snapshots
from charkha.learn.feedback.service import FeedbackService
from charkha.learn.policies.service import PolicyService
from charkha.learn.runs.jobs import Trainer
from charkha.learn.runs.service import RunService
from charkha.observe.service import InferenceLog
from charkha.release.registry.adapters import AdapterService
from charkha.release.registry.service import RegistryService
from charkha.release.registry.targets import load_targets
from charkha.release.rollouts import jobs as rollout_jobs
from charkha.release.rollouts.conductor import Conductor
from charkha.release.rollouts.domain import Rules
from charkha.release.rollouts.service import RolloutService
from charkha.serve import routes
from charkha.serve.service import EndpointService


class Wiring:
    """All services of one process, bound to one another."""

    def __init__(self, installation: Installation, *, reports: bool = True) -> None:
        """`reports`: this process serves traffic, and says which version of the snapshot it serves."""
        self.installation = installation
        self.sessions = Sessions(installation)
        self.database = Database(installation.database_url)
        self.jobs = Jobs(installation.database_url)
        self.events = EventLog(self.database, self.jobs)
        self.blobs = Blobs(installation.blobs_url, installation.secrets)
        self.snapshots = Snapshots(self.database, reports=reports)
        self.authenticator = Authenticator(installation.secrets, self.snapshots)
        self.engines, self.bases, self.providers = all_engines(installation, self.sessions, self.snapshots)
        self.fleet = Fleet(self.engines, self.blobs)
        self.models = ModelsOnDisk(installation)
        self.answers = GatewayAnswers(installation, self.authenticator, self.sessions)
        self._build()
        self._join()

    def _build(self) -> None:
        """Services in the order in which they need one another."""
        secrets, rollout = self.installation.secrets, self.installation.settings.rollout
        events, jobs = self.events, self.jobs
        self.keys = KeyService(secrets)
        self.directory = Directory(self.database, self.keys)
        self.console_sessions = SessionService(secrets, self.database, self.authenticator)
        self.limits, self.prices = LimitService(), price_service.PriceService()
        self.meter = Meter(self.snapshots, Leases(self.database, self.snapshots.id.hex))
        self.inferences = InferenceLog()
        self.feedback = FeedbackService(events, secrets)
        self.datasets = DatasetService(self.blobs)
        served = ServedVersions(self.bases, self.models)
        self.endpoints = EndpointService(events, served, self.engines)
        trainable = TrainableEndpoints(self.endpoints, self.models)
        self.runs = RunService(jobs, events, self.datasets, trainable)
        self.registry = served.registry = RegistryService(self.runs, self.blobs, events)
        self.adapters = AdapterService(self.registry, self.fleet, self.blobs)
        self.absent_adapters = AbsentAdapters(self.database, self.registry, self.fleet)
        self.ranked, self.suites = RankedVersions(self.registry), SuiteService(self.datasets, self.endpoints)
        self.evaluations = EvaluationService(jobs, self.suites, self.ranked, trainable)
        self.policies = PolicyService(
            jobs,
            self.runs,
            feedback=self.feedback,
            inferences=self.inferences,
            datasets=self.datasets,
            suites=self.suites,
            endpoints=trainable,
        )
        traffic = JudgedTraffic(self.inferences, self.feedback)
        self.conductor = Conductor(self.registry, self.endpoints, traffic, events)
        self.rollouts = RolloutService(
            self.registry,
            self.endpoints,
            self.evaluations,
            traffic,
            jobs,
            events,
            steps=rollout.steps,
            rules=Rules(alpha=rollout.alpha, minimum=rollout.minimum),
            patience=rollout.patience or None,
        )

    def _join(self) -> None:
        """Close the wheel, register every job, and say what the hot path's picture is made of."""
        loop.join(
            self.events,
            loop.Wheel(self.policies.consider, self.registry.register, self.evaluations.score, self.rollouts.decide),
        )
        installation = self.installation
        self.policies.register(self.jobs, self.database)
        Trainer(
            self.database,
            self.jobs,
            self.events,
            self.blobs,
            self.datasets,
            self.models,
            installation.home,
            nice=installation.settings.training.nice,
            threads=installation.settings.training.threads,
        ).register()
        Evaluator(
            self.database,
            self.jobs,
            self.events,
            self.blobs,
            datasets=self.datasets,
            versions=self.ranked,
            models=self.models,
            answers=self.answers,
            home=installation.home,
            nice=installation.settings.training.nice,
        ).register()
        rollout_jobs.register(self.jobs, self.database, self.conductor, self.fleet)
        self.snapshots.register("keys", keyring.load)
        self.snapshots.register(limit_store.LIMITS, limit_store.load)
        self.snapshots.register(price_service.PRICES, price_service.load)
        self.snapshots.register(routes.ROUTES, routes.load)
        self.snapshots.register(routes.VERSIONS, load_targets)

    async def close(self) -> None:
        """Close every connection."""
        await self.snapshots.stop()
        await self.jobs.close()
        await self.sessions.close()
        await self.database.close()
