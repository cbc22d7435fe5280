"""`ct-rate-18` on the English of other hospitals: short phrases, headings, other words of denial.

The sentences are written for these tests.
"""

from __future__ import annotations

import numpy as np
import pytest

from ctfw_plugins.labelers.configs import CtRate18Config
from ctfw_plugins.labelers.ct_rate_18 import CtRate18

NOTHING = [
    "No adenopathy.",
    "Mediastinum: No lymphadenopathy by CT size criteria.",
    "Heart is normal in size.",
    "Heart size is normal. No pericardial effusion.",
    "No focal consolidation, pleural effusion, or pneumothorax.",
    "No emphysema.",
    "No suspicious pulmonary nodule or mass.",
    "There are no pulmonary nodules.",
    "The previously seen pleural effusion has resolved.",
    "Interval resolution of the left pleural effusion.",
    "Resolved consolidation.",
    "Pleural effusion: None. Pneumothorax: None.",
    "LUNGS: Clear. PLEURA: No effusion. HEART: Normal.",
    "Lungs are clear without consolidation, effusion or nodule.",
    "No evidence of bronchiectasis.",
    "The central airways are patent without bronchiectasis.",
    "There is no evidence for pulmonary embolism, consolidation or pleural effusion.",
    "Cardiac silhouette is within normal limits.",
    "Neither pleural nor pericardial effusion is present.",
    "Ascites. No pleural fluid.",
    "Pleural thickening without effusion.",
    "No acute cardiopulmonary abnormality.",
    "No enlarged mediastinal, hilar, or axillary lymph nodes.",
    "No pathologically enlarged lymph nodes.",
    "Unremarkable heart and pericardium. No effusion.",
    "There has been interval removal of the left chest tube.",
    "Emphysema is absent.",
    "Consolidation is not appreciated.",
    "There is neither cardiomegaly nor pericardial effusion.",
]
SOMETHING_ELSE = [
    "Three-vessel coronary artery disease.",
    "Aortic valve calcification.",
    "Mitral annular calcification.",
    "Severe COPD with hyperinflation.",
    "Subcutaneous emphysema along the chest wall.",
    "Calcified granuloma in the left lower lobe.",
    "Diffuse bronchial wall thickening.",
    "Thyroid nodule measuring 1.2 cm.",
    "Left adrenal nodule, likely adenoma.",
    "Nodular liver contour.",
    "Osteophytes of the thoracic spine.",
    "Multiple bilateral pulmonary metastases.",
    "Possible early pneumonia in the right lower lobe.",
    "Status post CABG.",
]
FINDINGS = {
    "Scattered subcentimeter mediastinal lymph nodes, not enlarged by CT criteria.": {
        "Lymphadenopathy"
    },
    "The heart is mildly enlarged.": {"Cardiomegaly"},
    "Mild cardiomegaly with trace pericardial effusion.": {"Cardiomegaly", "Pericardial effusion"},
    "Trace left pleural effusion with adjacent compressive atelectasis.": {
        "Pleural effusion",
        "Atelectasis",
    },
    "Bibasilar atelectasis.": {"Atelectasis"},
    "Small bilateral effusions.": {"Pleural effusion"},
    "Small bilateral pleural effusions, right greater than left.": {"Pleural effusion"},
    "Small hiatal hernia.": {"Hiatal hernia"},
    "Moderate sliding hiatus hernia.": {"Hiatal hernia"},
    "Coronary artery calcifications.": {"Coronary artery wall calcification"},
    "Severe multivessel coronary atherosclerosis.": {"Coronary artery wall calcification"},
    "Atherosclerotic calcification of the thoracic aorta.": {"Arterial wall calcification"},
    "Aortic atherosclerosis.": {"Arterial wall calcification"},
    "Calcified plaque of the aortic arch and great vessels.": {"Arterial wall calcification"},
    "Calcified mediastinal lymph nodes.": {"Lymphadenopathy"},
    "Median sternotomy wires and left-sided ICD are noted.": {"Medical material"},
    "Endotracheal tube terminates 3 cm above the carina.": {"Medical material"},
    "Right internal jugular central line with tip in the SVC.": {"Medical material"},
    "PICC line with its tip at the cavoatrial junction.": {"Medical material"},
    "Centrilobular emphysema, upper lobe predominant.": {"Emphysema"},
    "5 mm solid pulmonary nodule in the right upper lobe (series 3, image 45).": {"Lung nodule"},
    "Patchy ground-glass opacities bilaterally, compatible with COVID-19 pneumonia.": {
        "Lung opacity"
    },
    "Airspace opacity in the right lower lobe.": {"Lung opacity"},
    "Tree-in-bud opacities in the lingula.": {"Lung opacity"},
    "Mosaic attenuation of the lungs suggesting air trapping.": {"Mosaic attenuation pattern"},
    "Peribronchial cuffing.": {"Peribronchial thickening"},
    "Cylindrical bronchiectasis in the middle lobe.": {"Bronchiectasis"},
    "Traction bronchiectasis.": {"Bronchiectasis"},
    "Smooth interlobular septal thickening consistent with edema.": {
        "Interlobular septal thickening"
    },
    "Apical scarring.": {"Pulmonary fibrotic sequela"},
    "Biapical pleuroparenchymal scarring.": {"Pulmonary fibrotic sequela"},
    "Linear scarring in the lingula.": {"Pulmonary fibrotic sequela"},
    "Pulmonary fibrosis with honeycombing.": {"Pulmonary fibrotic sequela"},
    "Interval development of consolidation in the right lower lobe.": {"Consolidation"},
    "Enlarged right hilar lymph node measuring 1.4 cm.": {"Lymphadenopathy"},
    "Stable 4 mm nodule in the left upper lobe.": {"Lung nodule"},
    "Moderate pericardial effusion.": {"Pericardial effusion"},
    "Trace pericardial fluid is physiologic.": {"Pericardial effusion"},
    "The lungs show no ground-glass opacity but there is a 3 mm nodule.": {"Lung nodule"},
    "Lungs: Scattered ground glass. No nodules.": {"Lung opacity"},
    "Hazy opacities in the dependent lungs.": {"Lung opacity"},
    "Left lower lobe collapse.": {"Atelectasis"},
    "Surgical clips in the right upper quadrant.": {"Medical material"},
    "Reticular opacities and septal thickening.": {
        "Lung opacity",
        "Interlobular septal thickening",
    },
    "Mucus plugging with distal atelectasis; no consolidation.": {"Atelectasis"},
    "Effusions have resolved. Mild atelectasis persists.": {"Atelectasis"},
    "No pleural effusion is seen, however there is mild atelectasis.": {"Atelectasis"},
    "Consolidation has improved but not resolved.": {"Consolidation"},
    "No change in the pleural effusion.": {"Pleural effusion"},
    "Decreased pleural effusion.": {"Pleural effusion"},
}


@pytest.fixture(scope="module")
def labeler() -> CtRate18:
    return CtRate18(CtRate18Config())


def found(labeler: CtRate18, text: str) -> set[str]:
    return {labeler.names[i] for i in np.flatnonzero(labeler.label([text])[0])}


@pytest.mark.parametrize("text", NOTHING)
def test_denial_in_other_words_gives_no_label(labeler: CtRate18, text: str) -> None:
    assert found(labeler, text) == set()


@pytest.mark.parametrize("text", SOMETHING_ELSE)
def test_findings_outside_the_label_set_give_no_label(labeler: CtRate18, text: str) -> None:
    assert found(labeler, text) == set()


@pytest.mark.parametrize("text", FINDINGS)
def test_findings_in_other_words_are_read(labeler: CtRate18, text: str) -> None:
    assert found(labeler, text) == FINDINGS[text]
    assert found(labeler, text.upper()) == FINDINGS[text]
