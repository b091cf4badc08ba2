/* The engine's API, for whoever can connect to it: a container that shows the canary. */
#ifndef ENGINE_H
#define ENGINE_H
#include "attempt.h"

/* Each case has its own: a connected socket, or -1 with what it tried reported. */
static int connect_engine(void);

static char answer[65536];

static void read_answer(int fd) {
    size_t length = 0;
    ssize_t count;
    while ((count = read(fd, answer + length, sizeof answer - 1 - length)) > 0)
        length += count;
    for (size_t i = 0; i < length; i++)
        if (!answer[i]) /* the log stream has binary headers */
            answer[i] = '.';
    answer[length] = 0;
}

/* The HTTP status, or -1 without a connection; the whole answer is in `answer`. */
static int ask(const char *verb, const char *path, const char *body) {
    char request[2048];
    int fd = connect_engine();
    if (fd < 0)
        return -1;
    snprintf(request, sizeof request,
             "%s %s HTTP/1.0\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             verb, path, strlen(body), body);
    write_text(fd, request);
    read_answer(fd);
    close(fd);
    return atoi(answer + strlen("HTTP/1.0 "));
}

static int ask_about(const char *verb, const char *format, const char *id) {
    char path[256];
    snprintf(path, sizeof path, format, id);
    return ask(verb, path, "");
}

static const char *create(void) {
    static char id[65];
    char body[1024], folder[200];
    snprintf(folder, sizeof folder, "%s", from_env("CANARY_PATH", "/none/none"));
    *strrchr(folder, '/') = 0;
    snprintf(
        body, sizeof body,
        "{\"Image\":\"%s\",\"Cmd\":[\"cat\",\"/h/secret\"],\"Labels\":{\"container-kit.corpus\":\"child\"},"
        "\"HostConfig\":{\"Binds\":[\"%s:/h:ro\"],\"NetworkMode\":\"none\"}}",
        from_env("CASE_IMAGE", "none"), folder);
    attempt("POST create", ask("POST", "/containers/create", body));
    const char *found = strstr(answer, "\"Id\":\"");
    if (!found)
        return NULL;
    snprintf(id, sizeof id, "%s", found + strlen("\"Id\":\""));
    return id;
}

static void read_canary(const char *id) {
    attempt("POST start", ask_about("POST", "/containers/%s/start", id));
    ask_about("POST", "/containers/%s/wait", id);
    ask_about("GET", "/containers/%s/logs?stdout=1", id);
    const char *token = strstr(answer, "CORPUS-CANARY-");
    if (token)
        canary(token);
    ask_about("DELETE", "/containers/%s?force=1", id);
}

static inline int use_engine(void) {
    int status = ask("GET", "/version", "");
    if (status < 0)
        return finish();
    attempt("GET /version", status);
    effect("talked to the docker API");
    const char *id = create();
    if (id)
        read_canary(id);
    return finish();
}
#endif
