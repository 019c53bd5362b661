"""Which part a sample belongs to."""

import pytest
import torch

from data_loader.splitting import divide, held_out, keys_of

NAMES = [f"class{number % 10}/{number:05d}.png" for number in range(10_000)]
CLASSES = torch.arange(10_000) % 10


def part_of_each(names, classes, **shares) -> dict[str, str]:
    parts = divide(names, **{"valid": 0.1, "test": 0.1, "seed": 3, **shares}, targets=classes)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(len(names)))
    assert all(torch.equal(part, part.sort().values) for part in parts.values())
    return {names[index]: name for name, part in parts.items() for index in part.tolist()}


def test_a_sample_more_or_less_moves_no_other():
    before = part_of_each(NAMES, CLASSES)
    more = part_of_each(["class0/a new one.png", *NAMES], torch.cat([torch.tensor([0]), CLASSES]))
    less = part_of_each(NAMES[1:], CLASSES[1:])
    assert {name: part for name, part in more.items() if name in before} == before
    assert {name: before[name] for name in less} == less


def test_neither_the_order_nor_the_share_of_another_part_counts():
    before = part_of_each(NAMES, CLASSES)
    assert part_of_each(NAMES[::-1], CLASSES.flip(0)) == before
    without_test = part_of_each(NAMES, CLASSES, test=0)
    moved = [name for name in NAMES if before[name] != "test" and before[name] != without_test[name]]
    assert not moved


def test_shares_of_each_class_are_kept_within_two_deviations():
    for seed in range(20):
        parts = divide(NAMES, 0.1, 0.2, seed, CLASSES)
        for part, quota, deviation in (("test", 200, 12.7), ("valid", 80, 8.5)):
            counts = CLASSES[parts[part]].bincount(minlength=10)
            assert (counts - quota).abs().max() <= 2 * deviation + 5  # the quota of valid is of what test leaves


def test_a_small_class_is_in_every_part():
    names, classes = [f"{i}.png" for i in range(60)], torch.arange(60) // 6
    for seed in range(20):
        parts = divide(names, 0.1, 0.1, seed, classes)
        assert all(classes[part].bincount(minlength=10).min() >= 1 for part in parts.values())
    assert divide(["only one"], 0.5, 0.5, 0)["train"].tolist() == [0]


def test_parts_take_their_share_of_numbers_high_and_low():
    """Of 400 numbers, chance alone would let the means of the parts differ by 0.13 deviations, not by 0.06."""
    off = []
    for seed in range(40):
        targets = torch.randn(400, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        parts = divide(NAMES[:400], 0.2, 0.2, seed, targets)
        fifths = torch.searchsorted(targets.sort().values[[80, 160, 240, 320]], targets, right=True)
        for part, quota in (("test", 16), ("valid", 12.8)):
            counts = fifths[parts[part]].bincount(minlength=5)
            assert counts.min() >= quota / 3 and abs(len(parts[part]) - 5 * quota) <= 12
            off.append((targets[parts[part]].mean() - targets.mean()).abs())
    assert torch.stack(off).mean() < 0.07


@pytest.mark.parametrize("amount", [0.1, 1000])
def test_a_number_more_or_less_moves_no_other(amount):
    moved = 0
    for seed in range(30):
        targets = torch.randn(10_000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).exp()
        before = divide(NAMES, amount, 0, seed, targets)["valid"]
        after = divide(NAMES[1:], amount, 0, seed, targets[1:])["valid"] + 1
        differ = set(before.tolist()) ^ set(after.tolist())
        moved += len(differ - {0}) > (amount == 1000)  # a count that is kept exactly needs another one in its place
    assert moved <= 1


@pytest.mark.parametrize(
    "targets",
    [
        torch.zeros(200, dtype=torch.float64),
        torch.arange(200, dtype=torch.float64) % 2,
        (torch.arange(200, dtype=torch.float64) - 150).clamp(min=0),
        torch.tensor([1e300, -1e300, float("inf"), float("nan"), 5e-324] * 40, dtype=torch.float64),
        torch.arange(200) // 8 * 10**15,
        torch.full((200,), -1),
    ],
)
def test_odd_targets_are_divided_too(targets):
    sizes = [[len(part) for part in divide(NAMES[:200], 0.2, 0.2, seed, targets).values()] for seed in range(20)]
    assert all(min(size) > 0 for size in sizes)
    assert all(15 <= size[2] <= 60 for size in sizes)


def test_a_count_of_classes_is_exact_and_has_its_share_of_each():
    off, by_chance = [], []
    for seed in range(20):
        parts = divide(NAMES[:600], 60, 60, seed, CLASSES[:600])
        assert [len(part) for part in parts.values()] == [480, 60, 60]
        for test, told in ((parts["test"], off), (divide(NAMES[:600], 0, 60, seed)["test"], by_chance)):
            told.append((CLASSES[test].bincount(minlength=10) - 6).abs().max())
    assert max(off) <= 4 < max(by_chance)


def test_a_count_is_exact():
    assert held_out(keys_of(NAMES), 123, 1).sum() == 123
    assert [len(part) for part in divide(NAMES, 50, 30, 0).values()] == [9920, 50, 30]
    assert not torch.equal(held_out(keys_of(NAMES), 123, 1), held_out(keys_of(NAMES), 123, 2))


@pytest.mark.parametrize(("valid", "test"), [(0.2, 0.2), (100, 150)])
def test_groups_stay_together(valid, test):
    groups = [f"speaker {i % 13}" for i in range(1000)]  # of 76 or 77 samples each
    for seed in range(10):
        parts = divide(groups, valid, test, seed)
        held = [{groups[index] for index in part.tolist()} for part in parts.values()]
        assert sum(map(len, held)) == 13 and all(held)
        if isinstance(valid, int):
            assert abs(len(parts["valid"]) - valid) <= 77 / 2 and abs(len(parts["test"]) - test) <= 77 / 2


def test_groups_stay_together_and_every_class_has_some():
    """30 patients, of whom 8 are ill; of one of those, a few samples say otherwise."""
    patients = torch.arange(600) % 30
    ill = (patients < 8).long()
    ill[[3, 33, 63]] = 0
    blurred = ill + torch.rand(600, generator=torch.Generator().manual_seed(0)) / 10
    for targets in (ill, ill.double(), blurred):
        for seed in range(20):
            parts = divide(map(str, patients.tolist()), 0.25, 0.25, seed, targets)
            held = [set(patients[part].tolist()) for part in parts.values()]
            assert sum(map(len, held)) == 30 and all(len(each) >= 4 for each in held)
            assert targets is blurred or all(min(each) < 8 <= max(each) for each in held)


@pytest.mark.parametrize("num_groups_of_class", [1, 2])
def test_classes_of_few_groups_do_not_take_more_than_the_share(num_groups_of_class):
    """Where one of the two groups of each class were held out, that would be half of all samples."""
    groups = torch.arange(4000) % 200
    sizes = [
        len(divide(map(str, groups.tolist()), 0.1, 0, seed, groups // num_groups_of_class)["valid"])
        for seed in range(20)
    ]
    assert all(200 <= size <= 600 for size in sizes)


@pytest.mark.parametrize("amount", [5, 0.5])
def test_a_single_group_is_not_divided(amount):
    assert len(divide(["one"] * 10, amount, 0, 0)["train"]) == 10


def test_the_parts_are_the_same_on_every_machine():
    assert divide(NAMES[:30], 0.2, 0.2, 7)["test"].tolist() == [9, 22, 23, 25, 28]
