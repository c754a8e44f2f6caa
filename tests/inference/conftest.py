"""All tests here take compiled loops where there are any."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def loops_where_there_are_any(compiled_loops):
    pass
