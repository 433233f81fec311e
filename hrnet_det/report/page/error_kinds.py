"""The kinds of errors, in words."""

from typing import NamedTuple


class Error(NamedTuple):
    """A kind of error: its name, a shorter one, what it is, and what is worth trying against it."""

    title: str
    short: str
    meaning: str
    advice: str = ""


# By the names that `diagnosis.tide` has.
ERRORS = {
    "Miss": Error(
        "missed objects (Miss)",
        "missed",
        "an object that nothing has found, not even poorly or as another class",
    ),  # what helps depends on their size
    "Loc": Error(
        "badly placed detections (Loc)",
        "badly placed",
        "of the right class, with an IoU of 0.1 to 0.5 only",
        "Look whether annotations are tight; larger images (INPUT.MIN_SIZE_TRAIN, "
        "INPUT.MIN_SIZE_TEST) and a Cascade R-CNN place boxes better.",
    ),
    "Cls": Error(
        "wrong classes (Cls)",
        "wrong class",
        "in the place of an object, but as another class",
        "Look at the images of both: are they annotated alike, and can people tell them apart? "
        "Then more examples of the rarer one; classes that look the same are better made one.",
    ),
    "Bkg": Error(
        "detections of nothing (Bkg)",
        "nothing there",
        "where no object is annotated",
        "Look at those with high scores: many are objects that nobody has annotated. Else add "
        "images without objects (DATALOADER.FILTER_EMPTY_ANNOTATIONS False), or raise the score.",
    ),
    "Both": Error(
        "wrong classes, badly placed (Both)",
        "both",
        "near an object of another class",
        "It mostly goes away with the other kinds.",
    ),
    "Dupe": Error(
        "objects found again (Dupe)",
        "again",
        "on an object that a better detection has found",
        "A lower IoU of the suppression (MODEL.ROI_HEADS.NMS_THRESH_TEST) drops them.",
    ),
}
