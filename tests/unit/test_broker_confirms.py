"""Confirms counted by delivery tag, without a broker."""

from hypothesis import given
from hypothesis import strategies as st

from loom.broker.confirms import Batch, Status
from loom.messaging.envelope import Envelope


def batch(size, first_tag=1, sent=None):
    envelopes = [Envelope("x", f"k{n}", b"", f"m{n}", "c") for n in range(size)]
    made = Batch(envelopes, first_tag)
    for index in range(size if sent is None else sent):
        made.sent(index)
    return made


def statuses(made):
    return [outcome.status.value for outcome in made.outcomes()]


def test_each_tag_decides_its_own_message():
    made = batch(3)
    made.answered(2, False, acked=True)
    made.answered(1, False, acked=False)
    assert not made.done
    made.answered(3, False, acked=True)
    assert made.done
    assert statuses(made) == ["nacked", "confirmed", "confirmed"]


def test_multiple_covers_every_tag_up_to_the_one_named():
    made = batch(5)
    made.answered(2, False, acked=False)
    made.answered(4, True, acked=True)
    made.answered(5, True, acked=True)
    assert statuses(made) == ["confirmed", "nacked", "confirmed", "confirmed", "confirmed"]


def test_tags_count_on_from_the_batches_before():
    made = batch(2, first_tag=41)
    made.answered(41, False, acked=True)
    made.answered(42, False, acked=True)
    assert statuses(made) == ["confirmed", "confirmed"]


def test_an_answer_to_an_earlier_batch_confirms_nothing_of_this_one():
    made = batch(2, first_tag=41)
    made.answered(40, True, acked=True)
    made.answered(43, True, acked=True)
    made.give_up("gone")
    assert statuses(made) == ["unconfirmed", "unconfirmed"]


def test_a_returned_message_is_not_confirmed_by_the_ack_that_follows():
    made = batch(2)
    assert made.returned("m1", "k1", "312 NO_ROUTE")
    made.answered(2, True, acked=True)
    assert statuses(made) == ["confirmed", "returned"]
    assert made.outcomes()[1].reason == "312 NO_ROUTE"


def test_a_return_of_an_unknown_message_is_noticed():
    assert not batch(2).returned("m7", "k7", "312 NO_ROUTE")


def test_a_return_is_believed_even_if_its_ack_never_comes():
    made = batch(2)
    made.returned("m0", "k0", "312 NO_ROUTE")
    made.give_up("time is up")
    assert statuses(made) == ["returned", "unconfirmed"]
    assert made.outcomes()[1].reason == "time is up"


def test_a_message_that_was_never_written_takes_no_tag():
    made = batch(3, sent=0)
    made.sent(0)
    made.unwritable(1, "no such type")
    made.sent(2)
    made.answered(2, True, acked=True)
    assert statuses(made) == ["confirmed", "unwritable", "confirmed"]


def test_a_given_up_batch_takes_no_late_answers():
    made = batch(1)
    made.give_up("time is up")
    made.answered(1, False, acked=True)
    assert statuses(made) == ["unconfirmed"]


@given(st.data())
def test_whatever_the_order_every_message_gets_exactly_the_answer_given_to_it(data):
    size = data.draw(st.integers(1, 40))
    first_tag = data.draw(st.integers(1, 1000))
    made = batch(size, first_tag)
    expected = [None] * size
    while None in expected:
        position = data.draw(st.sampled_from([i for i, e in enumerate(expected) if e is None]))
        multiple, acked = data.draw(st.booleans()), data.draw(st.booleans())
        made.answered(first_tag + position, multiple, acked=acked)
        for index in range(0 if multiple else position, position + 1):
            expected[index] = expected[index] or (Status.CONFIRMED if acked else Status.NACKED)
    assert made.done
    assert [outcome.status for outcome in made.outcomes()] == expected
