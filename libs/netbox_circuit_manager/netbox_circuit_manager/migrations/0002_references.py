"""Changes nothing; when the plugin is removed (`migrate netbox_circuit_manager zero`), takes along what refers to its rows.

NetBox keeps tags, journal entries, bookmarks, jobs and the like in tables of its own, by content type. With the plugin gone
these would refer to models that no longer exist, and NetBox's lists of them would fail.
"""

from django.db import migrations

APP = "netbox_circuit_manager"
REFERENCES = (
    ("extras", "TaggedItem", "content_type"),
    ("extras", "JournalEntry", "assigned_object_type"),
    ("extras", "Bookmark", "object_type"),
    ("extras", "Subscription", "object_type"),
    ("extras", "Notification", "object_type"),
    ("extras", "CachedValue", "object_type"),
    ("core", "Job", "object_type"),
)
SYSTEM_JOBS = ("Provider sync schedule", "Circuit contract reminders")


def remove_references(apps, schema_editor):
    # As lists of keys: the states of the models in a migration do not know each other.
    types = apps.get_model("contenttypes", "ContentType").objects
    keys = list(types.filter(app_label=APP).values_list("pk", flat=True))
    jobs = apps.get_model("core", "Job").objects
    # Notifications that a job is done refer to the job.
    told = list(types.filter(app_label="core", model="job").values_list("pk", flat=True))
    done = list(jobs.filter(object_type__in=keys).values_list("pk", flat=True))
    apps.get_model("extras", "Notification").objects.filter(object_type__in=told, object_id__in=done).delete()
    for app, model, field in REFERENCES:
        apps.get_model(app, model).objects.filter(**{f"{field}__in": keys}).delete()
    jobs.filter(object_type__isnull=True, name__in=SYSTEM_JOBS).delete()
    for dashboard in apps.get_model("extras", "Dashboard").objects.all():
        remove_widgets(dashboard)


def remove_widgets(dashboard):
    """Someone's dashboard with a widget that no longer exists is not shown at all."""
    gone = {key for key, widget in dashboard.config.items() if widget["class"].startswith(f"{APP}.")}
    if gone:
        dashboard.config = {key: widget for key, widget in dashboard.config.items() if key not in gone}
        dashboard.layout = [place for place in dashboard.layout if place["id"] not in gone]
        dashboard.save()


class Migration(migrations.Migration):
    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        ("netbox_circuit_manager", "0001_initial"),
    ]

    operations = [migrations.RunPython(migrations.RunPython.noop, remove_references)]
