"""What `new_project.py` begins a project with: a folder a task, and how a project is made and brought up to date."""
