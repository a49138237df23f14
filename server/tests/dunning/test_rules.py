from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.errors import Conflict, Invalid
from demarc.modules.customers.states import CustomerTier
from demarc.modules.dunning.inputs import Action, ExclusionRules, NewCampaign
from demarc.modules.dunning.rules import after_pause, days_overdue, due_at, excluding_rule, success_rate
from demarc.modules.dunning.states import EXECUTION, ActionType, ExecutionStatus

DAYS = st.dates(date(2020, 1, 1), date(2035, 12, 31))
MOMENTS = st.integers(1_577_836_800, 2_082_672_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(DAYS, DAYS, DAYS)
def test_days_overdue_count_from_the_later_day(issued_on, due_on, today):
    days = days_overdue(issued_on, due_on, today)
    assert days == min((today - issued_on).days, (today - due_on).days)


@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_the_minimum_excludes_at_and_above_it(minimum, paid):
    rule = excluding_rule(ExclusionRules(minimum), tier="basic", tags=(), lifetime_minor=paid)
    assert (rule is not None) is (paid >= minimum)


@given(
    st.sets(st.sampled_from(CustomerTier)), st.sampled_from(CustomerTier), st.sets(st.sampled_from("abcd"))
)
def test_one_rule_that_holds_is_enough(tiers, tier, tags):
    rules = ExclusionRules(customer_tiers=tuple(tiers), customer_tags=("a", "b"))
    rule = excluding_rule(rules, tier=tier.value, tags=tags, lifetime_minor=10**12)
    assert (rule is not None) is (tier in tiers or bool(tags & {"a", "b"}))


def test_no_rules_exclude_nobody():
    assert excluding_rule(ExclusionRules(), tier="vip", tags=["a"], lifetime_minor=10**15) is None


@given(MOMENTS, st.integers(0, 3650))
def test_a_delay_is_whole_days(previous_at, days):
    assert due_at(previous_at, days) - previous_at == timedelta(days=days)


@given(
    MOMENTS,
    st.timedeltas(timedelta(0), timedelta(days=400)),
    st.timedeltas(timedelta(0), timedelta(days=400)),
)
def test_a_pause_changes_nothing_but_the_moment(paused_at, left, pause):
    now = paused_at + pause
    assert after_pause(paused_at + left, paused_at=paused_at, now=now) - now == left
    assert after_pause(None, paused_at=paused_at, now=now) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_rate_is_a_percentage_or_nothing(successful, others):
    rate = success_rate(successful, successful + others)
    assert (rate is None) is (successful + others == 0)
    if rate is not None:
        assert 0 <= rate <= 100
        assert abs(rate * (successful + others) - 100 * successful) <= (successful + others) * 0.005 + 1e-9


def test_the_documents_rate():
    assert success_rate(200, 250) == 80


@pytest.mark.parametrize("current", ExecutionStatus)
@pytest.mark.parametrize("target", ExecutionStatus)
def test_the_transition_table(current, target):
    ends = {"completed", "canceled", "failed"}
    allowed = {
        "pending": {"in_progress", "paused"} | ends,
        "in_progress": {"paused"} | ends,
        "paused": {"pending", "in_progress"} | ends,
    }.get(current.value, set())
    if target.value in allowed:
        EXECUTION.check(current, target)
    else:
        with pytest.raises(Conflict):
            EXECUTION.check(current, target)


def test_inputs_refuse_what_no_surface_checked():
    step = Action(ActionType.SUSPEND_SERVICE)
    with pytest.raises(Invalid, match="name"):
        NewCampaign(name="", trigger_after_days=0, actions=(step,))
    with pytest.raises(Invalid, match="actions"):
        NewCampaign(name="a", trigger_after_days=0, actions=())
    with pytest.raises(Invalid, match="url"):
        Action(ActionType.WEBHOOK, url="https://[::1")
    with pytest.raises(Invalid, match="min_lifetime_value"):
        ExclusionRules(0)
