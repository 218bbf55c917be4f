"""Pictures from plain arrays: grids of patches and projections, contact sheets of filters."""
