"""What pyproject.toml cannot say: the wheel carries the weights, the programs and their configs inside the package.

`fusion/places.py` finds them, in a checkout too, where they lie beside it.
"""

from setuptools import find_packages, setup

PLACES = {
    "fusion.pretrained": "models",
    "fusion.programs": ".",  # train.py and test.py
    "fusion.programs.configs": "configs",
    "fusion.programs.scripts": "scripts",
    "fusion.programs.scripts.sample_scenes": "scripts/sample_scenes",
}

setup(
    packages=[*find_packages(include=["fusion", "fusion.*"]), *PLACES],
    package_dir=PLACES,
    script_name="setup.py",  # and so not taken for one of the programs
)
