/* A function in C: says the request's body backwards. Lambda's Runtime API over one socket, without a library. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static char buffer[1 << 20];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* Send a request and read its answer into `buffer`; returns where its body begins. */
static char *call(int api, const char *head, const char *body) {
  int length = snprintf(buffer, sizeof buffer, "%s HTTP/1.1\r\nHost: lambda\r\nContent-Length: %zu\r\n\r\n%s", head,
                        strlen(body), body);
  if (write(api, buffer, length) != length) fail("write");
  size_t have = 0, want = 0;
  char *end = NULL;
  do {
    ssize_t got = read(api, buffer + have, sizeof buffer - 1 - have);
    if (got <= 0) fail("read");
    buffer[have += got] = 0;
    if (end == NULL && (end = strstr(buffer, "\r\n\r\n")) != NULL) {
      char *field = strcasestr(buffer, "\r\ncontent-length:");
      want = (end += 4) - buffer + (field ? strtoul(field + 17, NULL, 10) : 0);
    }
  } while (end == NULL || have < want);
  return end;
}

int main(void) {
  char host[64], *colon;
  snprintf(host, sizeof host, "%s", getenv("AWS_LAMBDA_RUNTIME_API"));
  if ((colon = strchr(host, ':')) == NULL) return 2;
  *colon = 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1))};
  inet_pton(AF_INET, host, &address.sin_addr);
  int api = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(api, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  for (;;) {
    char *event = call(api, "GET /2018-06-01/runtime/invocation/next", "");
    char id[64] = "", head[160], answer[4096];
    sscanf(strcasestr(buffer, "lambda-runtime-aws-request-id:") + 30, " %63[^\r\n]", id);
    /* The body of an HTTP request of text/plain, without escapes: a real function would read JSON by a library. */
    char *body = strstr(event, "\"body\": \"");
    size_t length = body ? strcspn(body += 9, "\"") : 0, at = 0;
    at += snprintf(answer, sizeof answer, "{\"statusCode\": 200, \"headers\": {\"content-type\": \"text/plain\"}, \"body\": \"");
    while (length > 0 && at < sizeof answer - 3) answer[at++] = body[--length];
    strcpy(answer + at, "\"}");
    snprintf(head, sizeof head, "POST /2018-06-01/runtime/invocation/%s/response", id);
    call(api, head, answer);
  }
}
