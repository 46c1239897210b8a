"""Every message of the library has its place, and its explanation, on the page of messages."""

import sys
from pathlib import Path

import pytest

EXTENSIONS = Path(__file__).parents[2] / "docs" / "_ext"


@pytest.fixture(scope="module")
def page():
    sys.path.insert(0, str(EXTENSIONS))
    import messages_page

    sys.path.remove(str(EXTENSIONS))
    return messages_page


def test_every_message_is_explained(page):
    found = list(page.messages())
    assert len(found) > 300
    text = page.text()
    for file, words in found:
        assert page.topic_of(file).explanation in text
        assert " ".join(words.split()) in text


def test_a_file_without_a_topic_is_named(page):
    with pytest.raises(LookupError, match=r"newroom/_new\.py raises a message"):
        page.topic_of("newroom/_new.py")


def test_no_topic_is_idle(page):
    used = {page.topic_of(file).title for file, _ in page.messages()}
    assert used == {topic.title for topic in page.TOPICS}
