"""The content of a COCO json, from sizes and boxes."""


def content_of(*images):
    """One class "thing"; each of the images is ((height, width), [(x, y, width, height), ...])."""
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    for image_id, ((height, width), boxes) in enumerate(images, start=1):
        image = {"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width}
        content["images"].append(image)
        for x, y, w, h in boxes:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
    return content
