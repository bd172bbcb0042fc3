"""What cells a grid has."""

import pytest

from lightning_app.grids import Block, Choices, Rule, check_grids, expand
from metrics import InputError

BASE = {"model": {"backbone": "resnet18"}, "data": {"class_path": "datamodules.MNIST5k", "init_args": {"n_train": 500}}}
NATURAL, MEDICAL = {"class_path": "CIFAR10"}, {"class_path": "RSNA"}


def values(*blocks: Block) -> list[tuple[object, ...]]:
    return [tuple(cell.values()) for cell in expand(blocks, BASE)]


def test_a_product_is_every_combination_the_last_option_varying_fastest() -> None:
    block = Block(product={"model.backbone": ["a", "b"], "seed_everything": [0, 1]})
    cells = expand([block], BASE)
    assert [f"{cell['model.backbone']}{cell['seed_everything']}" for cell in cells] == ["a0", "a1", "b0", "b1"]


def test_a_zip_goes_in_step_and_cells_are_listed() -> None:
    assert values(Block(zip={"a": [1, 2], "b": [3, 4]})) == [(1, 3), (2, 4)]
    assert values(Block(cells=[{"a": 1}, {"a": 2, "b": 5}])) == [(1,), (2, 5)]
    assert len(values(Block(zip={"a": [1, 2]}, cells=[{"b": 1}, {"b": 2}], product={"c": [1, 2, 3]}))) == 12


def test_blocks_follow_one_another_and_a_block_of_nothing_is_one_run() -> None:
    assert values(Block(set={"a": 1}), Block(set={"a": 2})) == [(1,), (2,)]
    assert expand([Block()], BASE) == [{}]
    assert expand([], BASE) == []


def test_combinations_win_over_what_is_set() -> None:
    assert values(Block(set={"a": 1}, product={"a": [2, 3]})) == [(2,), (3,)]


def test_an_option_of_the_data_set_goes_by_either_name() -> None:
    assert expand([Block(set={"data.n_train": 1}, product={"data.init_args.n_train": [2]})], BASE) == [
        {"data.init_args.n_train": 2}
    ]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"data": "CIFAR10"}, [NATURAL]),
        ({"data": ["CIFAR10", "RSNA"]}, [NATURAL, MEDICAL]),
        ({"data": "CIFAR"}, []),
        ({"domain": "natural"}, [NATURAL]),
        ({"domain": "medical"}, [MEDICAL]),
        ({"model.backbone": "resnet18"}, [NATURAL, MEDICAL]),  # as in the configuration
        ({"model.backbone": "vgg13"}, []),
        ({"data.n_train": [250, 500]}, [NATURAL, MEDICAL]),
        ({"data": "CIFAR10", "data.n_train": 250}, []),
    ],
)
def test_a_rule_is_for_the_cells_that_it_names(where: Choices, found: list[object]) -> None:
    block = Block(product={"data": [NATURAL, MEDICAL]}, when=[Rule(where=where, set={"met": True})])
    assert [cell["data"] for cell in expand([block], BASE) if "met" in cell] == found


def test_a_rule_sees_the_options_that_a_class_was_chosen_with() -> None:
    block = Block(
        product={"data": [{"class_path": "RSNA", "init_args": {"n_train": 9}}, {"class_path": "RSNA"}]},
        when=[Rule(where={"data.n_train": 9}, skip=True)],
    )
    assert expand([block], BASE) == [{"data": {"class_path": "RSNA"}}]


def test_a_domain_can_be_given() -> None:
    block = Block(set={"data.domain": "medical"}, when=[Rule(where={"domain": "medical"}, skip=True)])
    assert expand([block], BASE) == []


def test_a_rule_multiplies_changes_or_leaves_out() -> None:
    block = Block(
        product={"data": [NATURAL, MEDICAL]},
        when=[
            Rule(where={"domain": "natural"}, product={"data.pair": [0, 1]}),
            Rule(where={"data.pair": 1}, set={"a": 1}),
            Rule(where={"data": "RSNA"}, skip=True),
        ],
    )
    pair = "data.init_args.pair"
    assert expand([block], BASE) == [{"data": NATURAL, pair: 0}, {"data": NATURAL, pair: 1, "a": 1}]


def test_every_mistake_is_named_at_once() -> None:
    block = Block(
        set={"model.backbon": "a"},
        zip={"seed_everything": [1, 2], "data.n_train": [1]},
        product={"data.n_vall": [1], "model.backbone": []},
        when=[Rule(), Rule(where={"domian": "natural"})],
    )
    with pytest.raises(InputError) as refused:
        check_grids({"mine": [block]}, {**BASE, "seed_everything": 0})
    for part in (
        *("'model.backbon', which is no option: did you mean model.backbone", "seed_everything: 2, data.n_train: 1"),
        *("'data.n_vall'", "data.init_args.n_val", "no value for 'model.backbone'", "without `where`", "'domian'"),
    ):
        assert part in str(refused.value), part


def test_options_of_every_data_set_are_known() -> None:
    check_grids({"g": [Block(set={"data.window": "brain", "data.margin": 3, "data": MEDICAL})]}, BASE)
