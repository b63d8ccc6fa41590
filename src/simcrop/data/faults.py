"""What can be wrong with an archive: one stable word for each kind of fault.

`DataError.kind` is one of these words, `refused.csv` has it in a column, and `simcrop check` counts
by it. "other" is whatever has no word of its own.
"""

FAULTS = {
    # tables
    "missing_table": "no such table",
    "not_a_table": "no CSV table",
    "wrong_encoding": "a table in another encoding than UTF-8",
    "missing_column": "a table without a needed column",
    "duplicate_identifier": "a volume or study on two rows",
    "no_patient": "a study without patient",
    "patient_in_two_splits": "a patient in two splits",
    "unknown_split": "a split that is none of train, val, test",
    "unknown_label": "a label that is almost a known one, or is not 0 or 1",
    "bad_mask_value": "a mask value that is no number",
    "unsafe_name": "an identifier that cannot name a file",
    "missing_report": "a volume whose study has no row in reports.csv",
    "empty_report": "a report without findings and impression",
    "shared_report": "the same measured findings for two patients",
    "no_volume": "a mask or label map that belongs to no volume",
    # files
    "unreachable": "a URL that cannot be read from here",
    "not_writable": "a store without room, or that may not be written",
    "worker_died": "a process that died, most likely for want of memory",
    "no_scheduler": "a Dask scheduler that does not answer",
    "missing_file": "no such file or folder",
    "unreadable": "a file that the system does not let be read",
    "truncated": "empty, cut short or damaged on the way",
    "not_an_image": "no volume format that can be read",
    "unsafe_archive": "a zip file or header that leads elsewhere, or a zip file beyond bounds",
    "ambiguous": "a zip file with several volumes",
    # what the file shows
    "no_series": "a folder or zip file without the asked DICOM series",
    "other_modality": "DICOM of another modality than CT",
    "localiser": "a localiser (scout) or a secondary capture, no reconstruction",
    "colour": "several values per voxel",
    "four_axes": "a series of volumes, or a single picture",
    "too_few_slices": "too few voxels along an axis to be a volume",
    "no_lungs": "no lungs in view: a head, an abdomen, a phantom of water",
    # slices
    "missing_slices": "a gap in the stack",
    "duplicated_slices": "two slices in one place",
    "mixed_series": "slices of different size or voxel size in one series",
    "mixed_orientation": "slices that are not parallel in one series",
    "no_position": "slices that do not say where they lie",
    # geometry
    "no_affine": "nothing says where left is",
    "no_geometry": "an array without voxel size and orientation, and none stated in the table",
    "bad_spacing": "zero, negative, missing or absurd voxel size",
    "smaller_than_crop": "a volume that fills too little of the crop",
    "bad_header": "a stated header that describes no volume",
    # values
    "not_finite": "NaN or infinite values",
    "constant": "all voxels have one value",
    "eight_bit": "8-bit values, a windowed copy that cannot go back",
    "not_8bit": "other values in a set that is published in 8 bits",
    "not_rescaled": "no air near -1000 HU: slope and intercept were never applied",
    "rescaled_twice": "air near -2000 HU: the intercept was applied twice",
    "too_large": "values that no CT has",
    "mixed_rescale": "volumes in HU and 8-bit volumes in one archive",
    "empty_mask": "a mask without a voxel on its volume",
}
