"""Configs of mmdetection are read as mmengine reads them, and are not run."""

import pytest
from helpers import mmdet_config

from hrnet_det.convert_config.nodes import plain
from hrnet_det.convert_config.reading import read_config
from hrnet_det.errors import InputError, MissingInputError


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.skipif(not mmdet_config.HRNETS, reason="mmdetection's configs are not installed")
@pytest.mark.parametrize("path", mmdet_config.HRNETS, ids=lambda path: path.stem)
def test_every_value_is_what_mmengine_reads(path):
    from mmengine.config import Config

    assert plain(read_config(path)) == Config.fromfile(path).to_dict()


def test_what_is_computed(write):
    path = write(
        "import copy\nimport os.path as osp\nfrom copy import deepcopy\n"
        "a, (b, c) = 2, (3, 4)\n"
        "sums = [a + b, a * b, b / a, b // a, b % a, a ** b, -a, not a, a < b <= 3, a in (1, 2)]\n"
        "text = f'{a}_{b:03d}' + '%s-%d' % ('x', a) + '{} {n}'.format(a, n=b)\n"
        "text += osp.join('p', 'q')\n"
        "d = dict(dict(x=1), y=[1, 2]) | {'z': None}\n"
        "e = deepcopy(d)\n"
        "e['y'] += [3]\n"
        "e.update(x=dict(k=1))\n"
        "e['x'].update(m=2)\n"
        "e['w'] = dict(k=1)\n"
        "e.update(w=dict(l=2))\n"
        "d['y'].append(9)\n"
        "for i, name in enumerate(['u', 'v']):\n    if i > 0:\n        d[name] = i\n"
        "last = [dict(n=n) for n in range(4) if n % 2][-1:]\n"
        "named = {f'k{n}': n * n for n in (1, 2)}\n"
        "chosen = 'yes' if d.get('nothing') is None else 'no'\n"
        "words = ' '.join(x.upper() for x in 'b,c'.split(','))\n"
        "l = [*range(2), *('s', )]\n"
        "l.insert(0, l.pop())\n"
        "del named['k1'], i, name\n"
        "n: int = len(l)\n"
        "pairs = dict(zip('uv', [1, [2]]))\n"
        "done = '%d%% of 2017, %05.1f' % (3, 1.5)\n"
        "one = other = [1]\n"
        "one += [2]\n"  # the same list
        "one = one + [3]\n"  # another one
    )
    assert plain(read_config(path)) == {
        "a": 2,
        "b": 3,
        "c": 4,
        "sums": [5, 6, 1.5, 1, 1, 8, -2, False, True, True],
        "text": "2_003x-22 3p/q",
        "d": {"x": 1, "y": [1, 2, 9], "z": None, "v": 1},
        "e": {"x": {"k": 1, "m": 2}, "y": [1, 2, 3], "z": None, "w": {"l": 2}},
        "last": [{"n": 3}],
        "named": {"k2": 4},
        "chosen": "yes",
        "words": "B C",
        "l": ["s", 0, 1],
        "n": 3,
        "pairs": {"u": 1, "v": [2]},
        "done": "3% of 2017, 001.5",
        "one": [1, 2, 3],
        "other": [1, 2],
    }


def test_bases_are_merged_as_mmengine_merges_them(write, monkeypatch):
    monkeypatch.setenv("CLASSES_HERE", "7")
    write(
        "model = dict(a=1, inner=dict(x=1, y=[1, 2]), whole=dict(p=1))\nroot = 'data/'\n", "b/m.py"
    )
    write("schedule = dict(epochs=12)\n", "b/s.py")
    path = write(
        "_base_ = ['b/m.py', './b/s.py']\n"
        "new = dict(_delete_=True, q=2)\n"
        "model = dict(inner=dict(y=[3], n={{'$CLASSES_HERE:80'}}), whole=new)\n"
        "file = {{_base_.root}} \n"
        "also = '{{ _base_.model.inner }}'\n"
        "here = _base_.root + '{{ fileBasenameNoExtension }}' + '{{$NOTHING_HERE:x}}'\n"
    )
    found = read_config(path)
    assert plain(found) == {
        "model": {"a": 1, "inner": {"x": 1, "y": [3], "n": 7}, "whole": {"q": 2}},
        "new": {"q": 2},
        "root": "data/",
        "schedule": {"epochs": 12},
        "file": "data/",
        "also": {"x": 1, "y": [1, 2]},
        "here": "data/minex",
    }
    assert str(found.find("model.inner.y").place) == f"{path}:3"
    assert str(found.find("model.a").place) == f"{path.parent}/b/m.py:1"
    assert found.find("model.inner.y.0").name == "model.inner.y.0"


def test_imports_of_version_3_s_python_configs(write):
    write("from mmdet.models import FasterRCNN\nmodel = dict(type=FasterRCNN, n=1)\n", "b/m.py")
    path = write(
        "from mmengine.config import read_base\n"
        "from torch.optim import SGD\n"
        "with read_base():\n    from .b.m import *\n"
        "model.update(dict(n=2))\noptimizer = dict(type=SGD)\n"
    )
    assert plain(read_config(path)) == {
        "model": {"type": "FasterRCNN", "n": 2},
        "optimizer": {"type": "SGD"},
    }


REFUSED = {
    "x = open('secret').read()\n": "1: \"open('secret')\": would have to be run",
    "import os\nx = os.environ['HOME']\n": "2: ",
    "import os\nx = os.system('true')\n": "2: \"os.system('true')\": would have to be run",
    "def f():\n    return 1\n": "1: 'def f(): return 1': would have to be run",
    "x = 1\nx = (lambda: 1)()\n": "2: '(lambda: 1)()': would have to be run",
    "x = ''.__class__\n": "1: \"''.__class__\": has no __class__",
    "x = y\n": "1: 'y': is not known here",
    "x = 1 / 0\n": "1: '1 / 0': cannot be computed (ZeroDivisionError",
    "x = [1][3]\n": "1: '[1][3]': cannot be computed (IndexError",
    "x = 'a' * 10**9\n": "1: \"'a' * 10 ** 9\": is too long for a config",
    "x = 9**9**9\n": "is too large a power",
    "x = 10**60\nfor i in range(9):\n    x = x * x\n": "3: 'x * x': is too large for a config",
    "x = range(10**9)\n": "cannot be computed (ValueError: 1000000000 numbers are too many",
    "x = 'aaaa'.replace('a', 'a' * 90000)\n": "the text is too long for a config",
    "x = f'{1:999999999}'\n": "is too wide",
    "x = '%999999999d' % 3\n": "cannot be computed (ValueError: '%999999999d' is too wide",
    "x = '%.999999999f' % 3\n": "is too wide",
    "x = '%*d' % (999999999, 3)\n": "is too wide",
    "x = '%(n)999999999d' % dict(n=3)\n": "is too wide",
    "del x\n": "1: 'del x': cannot be computed (KeyError: 'x')",
    "x = 3\nx['a'] = 1\n": "2: \"x['a'] = 1\": cannot be computed (TypeError: ",
    "x = [1]\nx['a'] = 1\n": "2: \"x['a'] = 1\": cannot be computed (TypeError: ",
    "x = 3\nx.a = 1\n": "2: 'x.a = 1': cannot be computed (TypeError: ",
    "for i in 3:\n    x = i\n": "1: 'for i in 3: x = i': cannot be computed (TypeError: ",
    "x = [1]\nfor i in range(60):\n    x = [x, x]\n": "has more than 100,000 parts",
    "x = [1]\nfor i in range(60):\n    x.extend(x)\n": "the list is too long for a config",
    "x = 'a'\nfor i in range(60):\n    x = '{0}{0}'.format(x)\n": "the text is too long",
    "x = 'a'\nfor i in range(60):\n    x = '%s%s' % (x, x)\n": "the text is too long",
    "x = 'a'\nfor i in range(60):\n    x = f'{x}{x}'\n": "is too long for a config",
    "x = [1]\nfor i in range(60):\n    x = x + x\n": "3: 'x + x': is too long for a config",
    "x = 1\nwhile x:\n    x = 1\n": "2: 'while x: x = 1': would have to be run",
    "for i in range(99999):\n    for j in range(99999):\n        pass\n": "computes too much",
    "x = (\n": "1: is not valid Python",
    "x = {{$NOT_SET_ANYWHERE:}}\n": "the environment has no NOT_SET_ANYWHERE",
    "x = {{_base_.nothing}}\n": "1: ",
    "_base_ = 'mine.py'\n": "leads back to the file itself",
    "_base_ = 'other.yaml'\n": "only Python configs (.py) are read",
    "_base_ = 3\n": "1: _base_ 3: give the path of a file",
    "_base_ = 'no_project_of_this_name::x.py'\n": "no_project_of_this_name is not installed",
    "_base_ = ['a.py', 'b.py']\n": "x is set by two of its _base_ files",
    "_base_ = 'a.py'\nx = dict(y=1)\n": "2: x is a dict, but ",
    "from .a import *\n": "1: 'from .a import *': would have to be run",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_is_refused_with_its_line(text, message, write):
    write("x = 1\n", "a.py")
    write("x = 2\n", "b.py")
    path = write(text)
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_base_that_is_not_there(write):
    path = write("# mine\n_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'\n")
    with pytest.raises(MissingInputError) as caught:
        read_config(path)
    target = path.parent.parent / "faster_rcnn" / "faster-rcnn_r50_fpn_1x_coco.py"
    assert str(caught.value) == (
        f"{path}:2: its _base_ ../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py is not there "
        f"({target}): keep the config in mmdetection's configs folder, or copy the files that it "
        "names"
    )


def test_files_that_are_no_text_or_too_large(write, tmp_path):
    (tmp_path / "binary.py").write_bytes(b"x = '\xff\xfe'")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        read_config(tmp_path / "binary.py")
    with pytest.raises(InputError, match="is too large for a config"):
        read_config(write("#" * 1_000_001))
    with pytest.raises(InputError, match=r"mine\.py"):
        read_config(write("x = " + "(" * 5000 + ")" * 5000))
    with pytest.raises(InputError, match=r"mine\.py"):
        read_config(write("x = " + "-" * 3000 + "1"))
