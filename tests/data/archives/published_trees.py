"""Small trees in the layouts, names and columns in which the public sets are published."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813

from simcrop.data.label_names import BTCV, CT_RATE, RAD_CHEST_CT_ABNORMALITIES

SHAPE = (20, 22, 24)  # x, y, z
SPACING = (2.5, 2.5, 3.0)


def chest(shape=SHAPE) -> np.ndarray:
    """(z, y, x) HU in LPS order: soft tissue with two lungs, a bright block low on the left."""
    hu = np.full(shape[::-1], -1000, np.int16)
    hu[:, 3:-3, 2:-2] = 40
    hu[4:-4, 6:-6, 4:9] = -850
    hu[4:-4, 6:-6, 11:16] = -850
    hu[5:9, 8:12, 12:15] = 700
    return hu


def image(hu: np.ndarray, spacing=SPACING) -> sitk.Image:
    made = sitk.GetImageFromArray(hu)
    made.SetSpacing(spacing)
    return made


def write_csv(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def ct_rate(folder: Path, *, fixed: bool, metadata: bool = True) -> Path:
    """Four training patients, one with two scans of two reconstructions; one for validation."""
    base = folder / "dataset"
    names = {
        "train": ["train_1_a_1", "train_1_a_2", "train_1_b_1", "train_2_a_1", "train_3_a_1",
                  "train_4_a_1"],
        "valid": ["valid_1_a_1"],
    }  # fmt: skip
    for part, volumes in names.items():
        prefix = {"train": "train", "valid": "validation"}[part]
        for name in volumes:
            patient, scan = "_".join(name.split("_")[:2]), "_".join(name.split("_")[:3])
            root = base / (f"{part}_fixed" if fixed else part) / patient / scan
            root.mkdir(parents=True, exist_ok=True)
            path = root / f"{name}.nii.gz"
            if fixed:
                sitk.WriteImage(image(chest()), str(path))
            else:
                sitk.WriteImage(image((chest() + 1024) // 2, (1.0, 1.0, 1.0)), str(path))
        files = [f"{name}.nii.gz" for name in volumes]
        write_csv(base / f"radiology_text_reports/{prefix}_reports.csv", [
            {"VolumeName": file, "ClinicalInformation_EN": "", "Technique_EN": "CT",
             "Findings_EN": f"Report of {file[:9]}. Lungs are clear.",
             "Impressions_EN": "Not given."} for file in files])  # fmt: skip
        write_csv(base / f"multi_abnormality_labels/{part}_predicted_labels.csv", [
            {"VolumeName": file} | {label: int(label == "Lung nodule") for label in CT_RATE}
            for file in files])  # fmt: skip
        if metadata:
            write_csv(base / f"metadata/{prefix}_metadata.csv", [
                {"VolumeName": file, "RescaleSlope": 2, "RescaleIntercept": -1024,
                 "XYSpacing": "[2.5, 2.5]", "ZSpacing": 3.0,
                 "ImagePositionPatient": "[0.0, 0.0, 0.0]",
                 "ImageOrientationPatient": "[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]"}
                for file in files])  # fmt: skip
    return folder


def rad_chest_ct(folder: Path) -> Path:
    """Arrays from the head down; published tables of abnormality * location."""
    columns = [f"{name}*{place}" for names in RAD_CHEST_CT_ABNORMALITIES.values()
               for name in names for place in ("left_lung", "other_location")]  # fmt: skip
    for part, prefix in (("train", "trn"), ("valid", "val"), ("test", "tst")):
        rows = []
        for number in (1, 2):
            name = f"{prefix}0000{number}"
            folder.mkdir(exist_ok=True)
            np.savez_compressed(folder / f"{name}.npz", ct=chest((60, 66, 90))[::-1])
            row = {"NoteAcc_DEID": name} | dict.fromkeys(columns, 0)
            rows.append(row | {"nodulegr1cm*left_lung": 1, "pleural_effusion*other_location": 1})
        write_csv(folder / f"img{part}_Abnormality_and_Location_Labels.csv", rows)
    return folder


def cc_ccii(folder: Path) -> Path:
    """Class / patient / scan / 8-bit slices from the head down."""
    grey = ((np.clip(chest(), -1000, 1000) + 1000) / 2000 * 255).round().astype(np.uint8)[::-1]
    for name in ("NCP", "CP", "Normal"):
        for patient, scan in (("10", "1001"), ("10", "1002"), ("11", "1003"), ("12", "1004")):
            scan_folder = folder / name / patient / (name[:1] + scan)
            scan_folder.mkdir(parents=True)
            for number, pixels in enumerate(grey):
                sitk.WriteImage(
                    sitk.GetImageFromArray(pixels), str(scan_folder / f"{number:04d}.png")
                )
    return folder


def luna16(folder: Path) -> Path:
    """Two subsets; masks of 3, 4, 5; nodules in the first scan alone."""
    uids = [f"1.3.6.1.4.1.14519.5.2.1.6279.6001.10{number}" for number in range(5)]
    masks = np.zeros(SHAPE[::-1], np.uint8)
    masks[4:-4, 6:-6, 11:16], masks[4:-4, 6:-6, 4:9], masks[15:20, 10:12, 9:11] = 3, 4, 5
    for number, uid in enumerate(uids):
        subset = folder / f"subset{number % 2}"
        subset.mkdir(parents=True, exist_ok=True)
        (folder / "seg-lungs-LUNA16").mkdir(exist_ok=True)
        sitk.WriteImage(image(chest()), str(subset / f"{uid}.mhd"))
        sitk.WriteImage(image(masks), str(folder / "seg-lungs-LUNA16" / f"{uid}.mhd"))
    write_csv(folder / "annotations.csv", [{"seriesuid": uids[0], "coordX": 1, "coordY": 2,
              "coordZ": 3, "diameter_mm": 6.1}])  # fmt: skip
    return folder


def btcv(folder: Path) -> Path:
    """Decathlon list with four training and two validation cases."""
    organs = np.zeros(SHAPE[::-1], np.uint8)
    for value in range(1, 14):
        organs[value : value + 2, 8:12, 5:9] = value
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cases = [f"img{number:04d}.nii.gz" for number in range(1, 7)]
    for name in cases:
        sitk.WriteImage(image(chest()), str(folder / "imagesTr" / name))
        sitk.WriteImage(image(organs), str(folder / "labelsTr" / name.replace("img", "label")))
    entries = [{"image": f"imagesTr/{name}", "label": f"labelsTr/{name.replace('img', 'label')}"}
               for name in cases]  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps({
        "labels": {str(value): name for value, name in enumerate(BTCV)},
        "training": entries[:4], "validation": entries[4:], "test": ["imagesTs/img0061.nii.gz"],
    }))  # fmt: skip
    return folder
