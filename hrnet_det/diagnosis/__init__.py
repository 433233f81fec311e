"""What is right and wrong with the detections of a test set, in numbers: no images, no drawing."""
