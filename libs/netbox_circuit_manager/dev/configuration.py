"""NetBox's configuration for the tests: the servers that dev/with-netbox.sh started, reached by unix sockets."""

import os

_WORK = os.environ["NETBOX_WORK"]

ALLOWED_HOSTS = ["*"]
DATABASES = {
    "default": {
        "NAME": "netbox",
        "USER": "netbox",
        "PASSWORD": "",
        "HOST": f"{_WORK}/sock",
        "PORT": "",
        # NetBox's own schema comes from a snapshot; the plugin's migrations run in every test database.
        "TEST": {"TEMPLATE": "nb_template"},
    }
}
REDIS = {
    "tasks": {"URL": f"unix://{_WORK}/redis.sock?db=0"},
    "caching": {"URL": f"unix://{_WORK}/redis.sock?db=1"},
}
SECRET_KEY = "x" * 60
API_TOKEN_PEPPERS = {1: "y" * 60}
PLUGINS = ["netbox_circuit_manager"]
PLUGINS_CONFIG = {
    "netbox_circuit_manager": {
        "encryption_keys": ["FG6SH8TZdos51nVCIwx8NH50CbbHMk5-FHZVfCtsgP4="],
        "allow_loopback_http": True,
    }
}
ISOLATED_DEPLOYMENT = True
DEVELOPER = True  # makemigrations is only offered to developers
CENSUS_REPORTING_ENABLED = False
DEFAULT_PERMISSIONS = {}
# Passwords of test users are not worth a slow hash.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
