"""A repository in front of another, which keeps on the local disk what that one does not take."""
