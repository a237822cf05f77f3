# A sandbox whose image a case replaces, to see sandboxes move from one image to another. The local engine reads the variable.
FROM scratch
ENV RELEASE=0
EXPOSE 49983
