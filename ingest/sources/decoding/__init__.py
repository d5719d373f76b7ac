"""What decodes sound and footage, in a process of its own: FFmpeg by PyAV, behind limits."""
