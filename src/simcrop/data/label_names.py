"""The class names of every public set, once, in each set's own order (method.md 11 and 12)."""

CT_RATE = (
    "Medical material",
    "Arterial wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)

RAD_CHEST_CT = (
    "Medical material",
    "Calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Hiatal hernia",  # "Hietal Hernia" in the published header
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)

LUNA16_SEGMENTATION = ("background", "left lung", "right lung", "trachea")

BTCV = (
    "background",
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "oesophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic veins",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
)

# A RadChestCT label is positive where any of these CT-RATE labels is. RadChestCT has no label for
# "Mosaic attenuation pattern".
RAD_CHEST_CT_FROM_CT_RATE: dict[str, tuple[str, ...]] = {
    name: (name,) for name in RAD_CHEST_CT if name != "Calcification"
} | {"Calcification": ("Arterial wall calcification", "Coronary artery wall calcification")}
