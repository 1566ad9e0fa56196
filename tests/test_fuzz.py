"""A few hundred damaged inputs for each reader; `make fuzz` runs for longer."""

import pytest

import fuzz


@pytest.mark.slow
@pytest.mark.parametrize("name", [*fuzz.TARGETS, "numbers"])
def test_damaged_input_is_read_or_refused(name):
    count = 60 if name == "models" else 400
    total, findings = fuzz.run(name, seed=0, seconds=60.0, count=count)
    assert not findings
    assert total > 20
