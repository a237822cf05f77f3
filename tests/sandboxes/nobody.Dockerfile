# A sandbox whose commands run as nobody, a user that every machine has. The local engine reads the variable.
FROM scratch
ENV CABANA_USER=nobody
EXPOSE 49983
