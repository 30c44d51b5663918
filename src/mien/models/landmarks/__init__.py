"""Networks that find the landmarks of a face in its crop; `mien.training.landmarks` trains them."""
