"""The report of `hrnet-det doctor`."""

import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

from helpers.processes import console_script, run
from helpers.tiny import REPO

from hrnet_det import doctor, environment


def test_doctor_with_everything_installed():
    import detectron2
    import fvcore
    import torch
    import torchvision

    report, status = doctor.doctor()
    own, collected, missing = report.split("\n\n")
    rows = dict(line.split(maxsplit=1) for line in own.splitlines())
    assert (status, missing) == (0, "missing: nothing that is needed")
    assert rows["torch"].startswith(f"{torch.__version__}; ")
    assert rows["torchvision"] == torchvision.__version__
    assert rows["fvcore"] == fvcore.__version__
    assert rows["pycocotools"] == metadata.version("pycocotools")
    folder = Path(detectron2.__file__).parent
    found = rf"{detectron2.__version__}, (the pinned|another|from) .*, {folder}(; without .*)?"
    assert re.fullmatch(found, rows["detectron2"])
    assert rows["hrnet_det"] == f"0.1.0, {REPO / 'hrnet_det'}"
    assert rows["Python"] == f"{platform.python_version()}, {sys.executable}"
    assert re.search(r"^GPU available +(Yes|No)", collected, re.MULTILINE)  # Detectron2's report
    assert f"{torch.__version__} @{Path(torch.__file__).parent}" in collected


def test_doctor_without_detectron2(monkeypatch):
    absent = ModuleNotFoundError("No module named 'detectron2'", name="detectron2")
    monkeypatch.setattr(environment, "detectron2_error", lambda: absent)
    monkeypatch.setitem(sys.modules, "detectron2.utils.collect_env", None)
    report, status = doctor.doctor()
    own, missing = report.split("\n\n")
    assert (status, missing) == (1, "missing:\n  detectron2: hrnet-det install-detectron2")
    assert re.search(r"^detectron2 +does not work: ModuleNotFoundError", own, re.MULTILINE)
    assert re.search(r"^torchvision +\d", own, re.MULTILINE)


def test_doctor_with_nothing_installed(tmp_path):
    # -S: no site-packages at all.
    done = run("-S", console_script(tmp_path), "doctor", path=[REPO], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.split("\nmissing:\n")[1].splitlines() == [
        "  torch: python -m pip install 'torch>=2.6'",
        "  torchvision: python -m pip install 'torchvision>=0.21'",
        "  detectron2: hrnet-det install-detectron2",
        "  fvcore: python -m pip install 'fvcore>=0.1.5,<0.1.6'",
        "  pycocotools: python -m pip install 'pycocotools>=2.0.2'",
    ]


def test_doctor_names_requirements_that_are_absent(monkeypatch):
    own = SimpleNamespace(
        requires=["torch>=2.6", "no-such-project<3", "nor-this; extra == 'dev'"], version="0"
    )
    real = metadata.distribution
    monkeypatch.setattr(
        metadata, "distribution", lambda name: own if name == "hrnet_det" else real(name)
    )
    report, status = doctor.doctor()
    assert status == 1
    assert report.split("\nmissing:\n")[1].splitlines() == [
        "  no-such-project: python -m pip install 'no-such-project<3'"
    ]


def test_doctor_says_what_the_fast_coco_evaluation_is_for(monkeypatch):
    version = metadata.version("faster-coco-eval")
    row = f"optional             faster_coco_eval {version} for COCO evaluation in less time"
    assert row in doctor.doctor()[0].splitlines()
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    (row,) = [line for line in doctor.doctor()[0].splitlines() if " faster_coco_eval" in line]
    assert row.startswith("optional             faster_coco_eval for COCO evaluation in less")
    assert row.endswith(" (pip install 'faster-coco-eval>=1.6.5')")


def test_doctor_says_what_the_packages_beside_predictions_are_for(monkeypatch):
    purposes = {
        "av": ("hrnet-det predict on videos", "pip install 'av>=17'"),
        "sahi": (
            "predict --merge sahi, sahi_model",
            "pip install sahi, which brings opencv-python",
        ),
        "supervision": ("Detections.to_supervision", "pip install 'supervision>=0.29'"),
    }
    for name in purposes:
        monkeypatch.setitem(sys.modules, name, None)
    lines = doctor.doctor()[0].splitlines()
    for name, (purpose, remedy) in purposes.items():
        (row,) = [line for line in lines if line.startswith(f"optional             {name} ")]
        assert row.startswith(f"optional             {name} for {purpose}: ")
        assert row.endswith(f" ({remedy})")


def fake_torch(*, cuda, gpus=(), reason=""):
    def init():
        raise RuntimeError(reason)

    device = SimpleNamespace(
        is_available=lambda: bool(gpus),
        device_count=lambda: len(gpus),
        get_device_properties=lambda i: gpus[i],
        init=init,
    )
    version = SimpleNamespace(cuda=cuda, hip=None)
    return SimpleNamespace(__version__="2.9", version=version, cuda=device)


def test_doctor_describes_the_devices(monkeypatch):
    monkeypatch.setattr(doctor, "_cpu", lambda: "6 CPU cores, no native bf16 found")
    gpus = [SimpleNamespace(name=f"NVIDIA {n}", total_memory=80 * 2**30) for n in "XY"]
    describe = doctor._describe_torch
    assert describe(fake_torch(cuda="13.0", gpus=gpus)) == "2.9; NVIDIA X, 80 GiB; NVIDIA Y, 80 GiB"
    no_driver = "Found no NVIDIA driver on your system. Please check that you have one"
    assert describe(fake_torch(cuda="13.0", reason=no_driver)) == (
        "2.9; no GPU (Found no NVIDIA driver on your system); 6 CPU cores, no native bf16 found"
    )
    assert describe(fake_torch(cuda=None)) == (
        "2.9; no GPU (built for the CPU); 6 CPU cores, no native bf16 found"
    )


def test_doctor_does_without_a_report_that_fails(monkeypatch):
    from detectron2.utils import collect_env

    def fail():
        raise OSError("no compiler")

    monkeypatch.setattr(collect_env, "collect_env_info", fail)
    assert doctor._collected() == []


def test_doctor_notices_a_torchvision_that_does_not_fit_torch(monkeypatch):
    import torchvision

    def nms(boxes, scores, threshold):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    report, status = doctor.doctor()
    assert status == 1
    assert re.search(r"^torchvision +does not work: RuntimeError: operator", report, re.MULTILINE)
    assert report.split("\nmissing:\n")[1].splitlines() == [
        "  torch and torchvision: python -m pip install --force-reinstall torch torchvision"
    ]


def test_doctor_finds_the_parts_of_coco(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    coco = tmp_path / "coco"
    for folder in ("train2017", "val2017", "annotations"):
        (coco / folder).mkdir(parents=True)
    (coco / "val2017" / "1.jpg").touch()
    (coco / "annotations" / "instances_val2017.json").touch()
    assert dict(doctor._dataset_rows()) == {
        "DETECTRON2_DATASETS": f"{tmp_path} ({tmp_path})",
        "COCO 2017": "found: val2017, annotations/instances_val2017.json; "
        f"not in {coco}: train2017, annotations/instances_train2017.json "
        "(the quickstart needs none of them)",
    }
