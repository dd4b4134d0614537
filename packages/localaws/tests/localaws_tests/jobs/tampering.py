"""What a program may try with a file that came from S3; the object has to stay whole."""

# Source of a function that tells what became of its operations: "done", "refused", an error's text.
TAMPER = """
import errno, os
def tampered(file):
    beside = file.with_name("beside")
    operations = (
        lambda: file.chmod(0o666), lambda: file.write_text("x"), lambda: open(file, "r+b").close(),
        lambda: os.truncate(file, 0), lambda: os.utime(file, (0, 0)), lambda: file.rename(beside).rename(file),
        lambda: file.with_name("new").write_text("x"), file.unlink,
    )
    tried = set()
    for operation in operations:
        try:
            operation()
            tried.add("done")
        except OSError as error:
            tried.add("refused" if error.errno in (errno.EROFS, errno.EACCES) else error.strerror)
    return sorted(tried)
"""
