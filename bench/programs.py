"""What the scripts of this folder share: running a program, and the name of the processor."""
import re
import subprocess


def command(line, **more):
    """What a program prints. RuntimeError with its last line if it fails."""
    done = subprocess.run(line, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(line[:2])}: {(done.stderr.strip() or done.stdout.strip() or '?').splitlines()[-1]}")
    return done.stdout


def processor():
    """As the system names it; what a virtual machine calls "AMD EPYC" is told apart by family and model."""
    try:
        with open("/proc/cpuinfo") as f:
            about = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", f.read(), re.M))
    except OSError:
        about = {"model name": command(["sysctl", "-n", "machdep.cpu.brand_string"]).strip()}
    return f"{about.get('model name', 'unknown')} (family {about.get('cpu family', '?')}, model {about.get('model', '?')})"
