"""A whole turn in the browser, on the real product with the tiny model: from an answer that is wrong to a version that is
right and in charge, and back.
"""

import re
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect

from charkha.core.messages import Example
from tests.chromium import Thread, chromium, chromium_thread
from tests.e2e.house import House, ask, base_variant
from tests.e2e.tiny_examples import as_json, held_out, questions

__all__ = ["chromium", "chromium_thread"]
SOON = 90_000
"""Milliseconds that a machine with other work may take to train, measure or prepare."""


class Journey:
    """Somebody at the console, and the application whose answers they look after."""

    def __init__(self, house: House, page: Page) -> None:
        self.house, self.page, self.name = house, page, f"journey-{uuid4().hex[:8]}"
        self.examples = questions(house.running.task)
        self.page.set_default_timeout(SOON)

    def prepare(self) -> None:
        """An endpoint with a suite and a policy, asked everything and taught all but the last of it."""
        task = self.house.running.task
        with self.house.client("admin") as client:
            endpoint = client.endpoints.create(
                self.name, labels=list(task.labels), variant=base_variant(self.house.running)
            )
            kept = client.datasets.upload(f"{self.name} held out", as_json(held_out(task)))
            client.suites.create(self.name, endpoint_id=endpoint.id, dataset_version_id=kept.id)
            client.policies.set(endpoint.id, minimum_examples=len(self.examples), **task.config)
            for number, example in enumerate(self.examples[1:], start=1):
                answer = ask(client, self.name, self.house.running, number)
                client.feedback.give("correction", inference_id=answer.inference_id, text=example.answer)
            self.last = ask(client, self.name, self.house.running, 0)

    def sign_in(self) -> None:
        """By the link that the command line prints."""
        self.page.goto(self.house.running.cli_json("console")["url"])
        self.page.wait_for_url("**/console/w/default/")

    def watch_the_turn(self) -> None:
        """The wheel says how far the turn is, and what comes next."""
        self.page.goto(self.page.url + f"?endpoint={self.name}")
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(self.name)
        expect(self.page.locator("#now")).to_contain_text(f"{len(self.examples) - 1} of {len(self.examples)}")

    def correct_an_answer(self) -> Example:
        """Find the last answer in the log, open it, and say what it should have been."""
        wanted = self.examples[0]
        self._go("Inferences")
        self.page.get_by_label("Model", exact=True).fill(self.name)
        expect(self.page.locator("tbody tr")).to_have_count(50)
        self.page.get_by_role("link", name=str(self.last.inference_id)[-8:]).click()
        expect(self.page.locator(".message.user")).to_contain_text(wanted.prompt[-1].content)
        expect(self.page.locator(".message.assistant")).to_contain_text(self.last.text)
        self.page.get_by_label(re.compile("What it should have answered")).fill(wanted.answer)
        self.page.get_by_role("button", name=re.compile("Correct it")).click()
        expect(self.page.locator(".message.wanted")).to_contain_text(wanted.answer)
        return wanted

    def watch_the_training(self) -> None:
        """The run begins by itself; its page moves until it has succeeded, without being loaded again."""
        self._go("Wheel", endpoint=self.name)
        self.page.locator(".steps a", has_text="Learn").click()
        if "/runs/" not in self.page.url:  # it was asked for before the run was queued
            self.page.locator("tbody tr", has_text=self.name).first.get_by_role("link").first.click()
        self.page.wait_for_url("**/runs/*")
        self.page.evaluate("window.loadedOnce = true")
        expect(self.page.locator("#run-now")).to_contain_text("succeeded")
        assert self.page.evaluate("window.loadedOnce") is True
        expect(self.page.locator("#run-curves canvas").first).to_be_visible()

    def find_the_lesson(self, lesson: Example) -> None:
        """What was corrected stands in the data set that the run learned from."""
        self.page.locator("#run-facts a[href*='/dataset-versions/']").click()
        self.page.wait_for_url("**/dataset-versions/*")
        self.page.get_by_label("Text", exact=True).fill(lesson.prompt[-1].content)
        expect(self.page.locator("#list")).to_contain_text(lesson.answer)
        expect(self.page.locator("#list")).to_contain_text(lesson.prompt[-1].content)

    def promote(self) -> None:
        """The scorecard says better, so a release began; it gets all traffic by hand."""
        self._go("Wheel", endpoint=self.name)
        expect(self.page.locator("#now")).to_contain_text("% of the traffic")
        self.page.locator(".steps a", has_text="Release").click()
        self.page.wait_for_url("**/releases/*")
        self._confirm("Promote", "Promote it", "seen enough")
        expect(self.page.get_by_role("status").first).to_contain_text("has all of the traffic")
        expect(self.page.locator("#release-head .status")).to_have_text("promoted")

    def roll_back(self) -> None:
        """And back: every gateway serves what served before."""
        self._confirm("Roll back", "Roll back now", "changed my mind")
        expect(self.page.get_by_role("status").first).to_contain_text("was rolled back")
        expect(self.page.locator("#release-head .status")).to_have_text("rolled back")

    def answers(self) -> float:
        """The share of the held-out questions that the endpoint answers right."""
        task = self.house.running.task
        with self.house.client() as client:
            right = [
                client.ask(self.name, [each.as_dict() for each in example.prompt], unit=uuid4().hex).text.strip()
                == example.answer
                for example in held_out(task)[:12]
            ]
        return sum(right) / len(right)

    def _go(self, place: str, **query: str) -> None:
        self.page.get_by_role("navigation", name="Pages").get_by_role("link", name=re.compile(place)).click()
        if query:
            self.page.goto(self.page.url + "?" + "&".join(f"{name}={value}" for name, value in query.items()))

    def _confirm(self, button: str, confirm: str, reason: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()
        dialog = self.page.locator("dialog[open]")
        dialog.get_by_label("Reason").fill(reason)
        dialog.get_by_role("button", name=confirm).click()


@pytest.mark.timeout(400)
def test_a_person_turns_the_wheel(house: House, chromium: Browser, chromium_thread: Thread) -> None:
    def turn() -> None:
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        journey = Journey(house, context.new_page())
        faults: list[str] = []
        journey.page.on("pageerror", lambda error: faults.append(str(error)))
        journey.prepare()
        journey.sign_in()
        journey.watch_the_turn()
        lesson = journey.correct_an_answer()
        journey.watch_the_training()
        journey.find_the_lesson(lesson)
        journey.promote()
        assert journey.answers() > 0.8
        journey.roll_back()
        assert journey.answers() < 0.4
        assert faults == []
        context.close()

    expect.set_options(timeout=SOON)
    try:
        chromium_thread.do(turn)
    finally:
        expect.set_options(timeout=5000)
