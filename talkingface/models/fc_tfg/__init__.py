"""FC-TFG (ACM MM 2023): every motion of the face from another video, the lips from sound."""
