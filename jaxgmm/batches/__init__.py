"""Many fits in one program: the lanes of a sweep, and slots that take one fit after another."""
