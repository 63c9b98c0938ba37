"""Django in one file: the view enqueues after its transaction has committed. `python django_app.py runserver`."""

from __future__ import annotations

import os
import sys
from functools import partial

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from newsletter import send_welcome

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}},
    DEBUG=True,
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "only for this example"),
)


@csrf_exempt  # so that curl may post; a real form sends the token
@require_POST
@transaction.atomic
def subscribe(request: HttpRequest) -> JsonResponse:
    """Enqueue a welcome, but only once the data that it is about is really there."""
    email = request.POST["email"]
    # Subscriber.objects.create(email=email) would stand here.
    transaction.on_commit(partial(send_welcome.enqueue, email))
    return JsonResponse({"email": email}, status=202)


urlpatterns = [path("subscribers", subscribe)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
