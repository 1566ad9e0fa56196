"""Networks, their grids and losses, and models made of them."""
