"""Whom the page lets do what: a token, a microphone that is refused, names and scripts of others."""

import json

import pytest

pytest.importorskip("starlette")

import audiorec
from tests.serving.browser import browser
from tests.serving.servers import Running
from tests.serving.visits import listen, paragraphs, rate, status, visit, wait_until

TOKEN = "öffne ☂ Sesam"


def test_a_server_with_a_token(chromium, models, recognizers):
    with (
        Running(f"one={models['ctc']}", "--threads", 1, "--search", "beam", AUDIOREC_TOKEN=TOKEN) as running,
        visit(chromium, running.http, ready="Not connected") as (page, wire),
    ):
        page.get_by_label("This server asks for its token").fill("another")
        page.keyboard.press("Enter")
        wait_until(page, lambda: "does not take this token" in page.get_by_role("alert").text_content())
        page.get_by_label("This server asks for its token").fill(TOKEN)
        page.keyboard.press("Enter")
        wait_until(page, lambda: status(page) == "Ready")
        assert not page.locator("#gate").is_visible()
        page.reload()
        wait_until(page, lambda: status(page) == "Ready")  # this tab keeps it
        assert page.evaluate("JSON.stringify(localStorage)").count("Sesam") == 0
        page.locator("#options summary").click()
        page.get_by_label("Hotwords").fill("seven nine\n\n two ")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(" ")
        listen(page, wire, 4)
        page.keyboard.press(" ")
        wait_until(page, lambda: status(page) == "Ready")
        samples, at = wire.samples(), rate(wire)
        hot = audiorec.load(models["ctc"], search={"kind": "beam", "hotwords": ["seven nine", "two"]})
        assert paragraphs(page) == [segment.text for segment in hot.transcribe(samples, at).segments]
        assert "Sesam" not in json.dumps(running.log(), ensure_ascii=False)


def test_a_microphone_that_is_refused(chromium, server):
    with visit(chromium, server.http, microphone=False) as (page, _):
        page.keyboard.press(" ")
        wait_until(page, lambda: "refused the microphone" in page.get_by_role("alert").text_content())
        assert page.get_by_role("button", name="Start").is_enabled() and status(page) == "Ready"


def test_a_name_that_leads_here(driver, server, said):
    """By plain HTTP from a name there is no microphone, and unless the server knows the name, no words: whoever owns the name
    could have made it lead here. The page says both."""
    with (
        browser(driver, said, "--host-resolver-rules=MAP speech.example 127.0.0.1") as started,
        visit(started, f"http://speech.example:{server.port}/", microphone=False) as (page, _),
    ):
        assert "only to pages from https or from localhost" in page.get_by_role("alert").text_content()
        assert page.get_by_role("button", name="Start").is_disabled()
        page.keyboard.press(" ")
        page.get_by_label("Choose files").set_input_files(said)
        wait_until(page, lambda: "--allow-origin http://speech.example" in page.get_by_role("alert").text_content())


def test_no_script_but_ours(chromium, server):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(server.http)
    code = """() => {
      for (const [name, text] of [["script", "window.hurt = 1"]]) {
        document.body.append(Object.assign(document.createElement(name), { textContent: text }));
      }
      document.body.insertAdjacentHTML("beforeend", '<img src="x" onerror="window.hurt = 2">');
      document.body.append(Object.assign(document.createElement("script"), { src: "data:text/javascript,window.hurt = 3" }));
      return new Promise((done) => setTimeout(() => done(window.hurt ?? 0), 300));
    }"""
    assert page.evaluate(code) == 0
    with pytest.raises(Exception, match="fetch"):
        page.evaluate("fetch('https://example.org/')")
    context.close()
