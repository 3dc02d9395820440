"""A folder of pictures as people have it: what it holds, and what is used of it."""
