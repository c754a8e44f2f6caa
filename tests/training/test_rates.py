"""Learning rates: the published tables, schedules by name, and refusals."""

import pytest
import timm.scheduler
import torch

from fusion.training import rates


def test_cddfuse_published():
    """StepLR: halved every 20 epochs of the part's own, never below 1e-6; 3 steps to an epoch here."""
    options = {"step_size": 20, "gamma": 0.5}
    table = rates.tabulate("StepLR", lr=1e-4, steps=3 * 160, per_unit=3, options=options, floor=1e-6)
    assert table == [max(1e-4 * 0.5 ** (step // 3 // 20), 1e-6) for step in range(3 * 160)]
    assert table[-1] == 1e-6


def test_an_epoch_need_not_be_whole_steps():
    table = rates.tabulate("StepLR", lr=1, steps=10, per_unit=2.5, options={"step_size": 1, "gamma": 0.5})
    assert table == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]


def test_ship_published():
    options = {"milestones": [15, 25], "gamma": 0.75}
    table = rates.tabulate("MultiStepLR", lr=1e-4, steps=40, options=options)
    assert table == pytest.approx([1e-4] * 15 + [0.75e-4] * 10 + [0.5625e-4] * 15, rel=1e-12)


def test_warmup_and_cosine():
    """Our warm-up multiplies the cosine that timm's schedule gives; without it the table is timm's."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule = timm.scheduler.CosineLRScheduler(optimizer, t_initial=50, lr_min=0.01)
    expected = []
    for step in range(50):
        schedule.step(step)
        expected.append(optimizer.param_groups[0]["lr"])
    plain = rates.tabulate("CosineLRScheduler", lr=0.1, steps=50, options={"lr_min": 0.01})
    assert plain == pytest.approx(expected, rel=1e-12)
    warmed = rates.tabulate("CosineLRScheduler", lr=0.1, steps=50, options={"lr_min": 0.01}, warmup=4)
    assert warmed == pytest.approx([x * min(1, (i + 1) / 5) for i, x in enumerate(expected)], rel=1e-12)


@pytest.mark.parametrize("name", sorted(rates.RATES))
def test_every_schedule_fills_its_table(name):
    options = {"StepLR": {"step_size": 2}, "MultiStepLR": {"milestones": [3]}, "ExponentialLR": {"gamma": 0.9}}
    table = rates.tabulate(name, lr=0.1, steps=12, options=options.get(name, {}))
    assert len(table) == 12
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in table)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("StepLr", {"step_size": 2}, "No rate named 'StepLr'. Known: .*Did you mean 'StepLR'"),
        ("StepLR", {"stepsize": 2}, "takes no option 'stepsize'.*Did you mean 'step_size'"),
        ("StepLR", {}, "needs the option 'step_size'"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises((ValueError, LookupError), match=message):
        rates.tabulate(name, lr=0.1, steps=3, options=options)
