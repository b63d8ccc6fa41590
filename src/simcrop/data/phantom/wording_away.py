"""How another hospital words the same findings: what a model has to generalise to.

No sentence is one of `wording`, and most use other words for the same thing. Places are said
alike, since anatomy has the same names everywhere.
"""

from simcrop.data.phantom.wording import Book, Phrases

AWAY = Book(
    {
        "Lung nodule": Phrases(
            (
                "Solid focal density{place}, diameter {size} mm.",
                "Rounded pulmonary lesion of {size} mm{place}.",
                "A coin lesion is found{place}.",
            ),
            ("A round pulmonary lesion is found.",),
            ("Neither lung contains a focal lesion.",),
            ("Round lesion{place}, biopsy to be discussed.",),
        ),
        "Lung opacity": Phrases(
            (
                "Veil-like increase in density{place}.",
                "Milky attenuation{place} through which vessels are visible, {size} mm.",
                "Ground-glass infiltrate{place}.",
            ),
            ("Diffuse ground-glass infiltrate.",),
            ("Ground-glass infiltrates are not found.",),
            ("Inflammatory infiltrate{place} likely.",),
        ),
        "Consolidation": Phrases(
            (
                "Homogeneous consolidation of lung tissue{place}, about {size} mm.",
                "Alveolar filling with open bronchi{place}.",
                "Consolidated parenchyma is found{place}.",
            ),
            ("Consolidated parenchyma is found.",),
            ("The parenchyma shows no alveolar filling.",),
            ("Bacterial pneumonia{place} suspected.",),
        ),
        "Atelectasis": Phrases(
            (
                "Strip-like dystelectasis{place}.",
                "Atelectatic strip{place}.",
                "Band-shaped loss of aeration{place}.",
            ),
            ("Strip-like atelectasis is found.",),
            ("Lungs are fully expanded, no dystelectasis.",),
            ("Dystelectasis{place}.",),
        ),
        "Emphysema": Phrases(
            (
                "Rarefied parenchyma with air-filled spaces{place}.",
                "Destroyed alveolar structure, emphysema{place}.",
                "Bullae{place}.",
            ),
            ("Emphysematous lungs.",),
            ("Parenchymal structure is preserved, no bullae.",),
            ("Advanced emphysema{place}.",),
        ),
        "Pleural effusion": Phrases(
            (
                "Fluid collection in the pleural cavity{place}, {size} mm.",
                "Effusion layering posteriorly{place}.",
                "Hydrothorax{place} up to {size} mm.",
            ),
            ("Hydrothorax is found.",),
            ("The pleural cavity holds no fluid.",),
            ("Hydrothorax{place}, puncture possible.",),
        ),
        "Cardiomegaly": Phrases(
            (
                "Enlarged heart, {size} mm across.",
                "Marked enlargement of the cardiac chambers.",
                "The heart is dilated.",
            ),
            ("Dilated heart.",),
            ("The heart is of normal dimensions.",),
            ("Dilated heart, echocardiography recommended.",),
        ),
        "Pericardial effusion": Phrases(
            (
                "A rim of {size} mm of fluid surrounds the heart.",
                "Hydropericardium of {size} mm.",
                "Fluid between the pericardial layers.",
            ),
            ("Hydropericardium.",),
            ("There is no fluid around the heart.",),
            ("Hydropericardium, to be followed up.",),
        ),
        "Arterial wall calcification": Phrases(
            (
                "Vascular sclerosis with calcium{place}.",
                "Calcium deposits in the vessel wall{place}.",
                "Sclerotic plaques{place}.",
            ),
            ("Aortic sclerosis.",),
            ("The aorta carries no calcium.",),
            ("Aortic sclerosis.",),
        ),
        "Coronary artery wall calcification": Phrases(
            (
                "Coronary sclerosis{place}.",
                "Coronary calcium{place}.",
                "Calcium deposits of the coronary wall{place}.",
            ),
            ("Coronary sclerosis is found.",),
            ("The coronary arteries carry no calcium.",),
            ("Coronary sclerosis, cardiologist to be consulted.",),
        ),
    },
    several_nodules=Phrases(
        ("Several rounded pulmonary lesions{place}, at most {size} mm.", "Coin lesions{place}."),
        ("Several coin lesions.",),
        ("Neither lung contains a focal lesion.",),
        ("Round lesions{place}, metastases to be excluded.",),
    ),
)
